//! Idle connections of one worker.
