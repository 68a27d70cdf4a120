//! Bounded pre-read of a connection's first bytes, and the I/O that replays them.
