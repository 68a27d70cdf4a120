//! L7: wiring of each command.
