//! Dialling.
//!
//! Called by `upstream`, `probe` and `nlb`. Always holds: a dial ends within its deadline.

use std::{io, net::SocketAddr, time::Duration};

use tokio::net::TcpStream;

use super::alarm;

/// Connects to `address` within `limit` and turns Nagle's algorithm off.
///
/// # Errors
/// What the kernel says, or `TimedOut`.
pub async fn tcp(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let connected = alarm::within(limit, TcpStream::connect(address)).await;
    let stream = connected.ok_or(io::ErrorKind::TimedOut)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}
