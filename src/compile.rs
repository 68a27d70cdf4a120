//! L5: objects to snapshot.
