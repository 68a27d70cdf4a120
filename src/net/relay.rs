//! Bidirectional byte relay with half-close and an inactivity limit.
