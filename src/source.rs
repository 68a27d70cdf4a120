//! L5: sources of objects.
