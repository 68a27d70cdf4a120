//! Dialling.
//!
//! Called by `upstream`, `probe` and `nlb`. Always holds: a dial ends within its deadline.

use std::{io, net::SocketAddr, time::Duration};

use tokio::net::TcpStream;

/// Connects to `address` within `limit` and turns Nagle's algorithm off.
///
/// # Errors
/// What the kernel says, or `TimedOut`.
pub async fn tcp(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let stream = tokio::time::timeout(limit, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}
