//! L2: rise and fall of one checked address, without sockets and clocks.
//!
//! Used by `probe` for the router's endpoints [HC-2] and by `nlb` for targets (spec/l4-dns.md A.5).
