//! L0: sockets: listening, dialling, relaying, PROXY headers, timed I/O. No domain words.

pub mod connect;
pub mod listen;
pub mod peek;
pub mod proxy_protocol;
pub mod relay;
pub mod timed;
