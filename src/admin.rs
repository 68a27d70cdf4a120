//! L6: the admin port.
