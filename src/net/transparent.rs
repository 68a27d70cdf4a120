//! Connections from addresses that are not this machine's: those of clients.
//!
//! Called by `nlb`, whose target groups may keep the addresses of clients. It needs CAP_NET_ADMIN (or
//! CAP_NET_RAW), and answers have to be routed back to this machine; only who sets up the network can see to that.
//! Always holds: a dial ends within its deadline.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use super::alarm;

/// Connects to `address` from `source`, address and port, within `limit`, and turns Nagle's algorithm
/// off.
///
/// # Errors
/// `PermissionDenied` without the privilege, `AddrInUse` or `AddrNotAvailable` when this source is
/// connected to this address already, what else the kernel says, or `TimedOut`.
pub async fn tcp(
    source: SocketAddr,
    address: SocketAddr,
    limit: Duration,
) -> io::Result<TcpStream> {
    let socket = open(source)?;
    socket.set_reuse_address(true)?;
    socket.bind(&source.into())?;
    let socket = TcpSocket::from_std_stream(socket.into());
    let connected = alarm::within(limit, socket.connect(address)).await;
    let stream = connected.ok_or(io::ErrorKind::TimedOut)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Says whether this process may do so for addresses like `source`.
///
/// # Errors
/// `PermissionDenied` if it may not, or what else the kernel says.
pub fn may(source: SocketAddr) -> io::Result<()> {
    open(source).map(|_socket| ())
}

fn open(source: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(source), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match source {
        SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
        SocketAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
    }
    Ok(socket)
}
