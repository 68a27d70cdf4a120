//! Listening sockets.
//!
//! Called by `app`, `nlb`, `dns`, `backend` and `admin`. A listener is made once and never rebuilt on
//! a configuration change; workers share one descriptor by `try_clone`, so closing a worker's copy
//! resets nothing that waits in the queue (ARCHITECTURE.md, decisions).

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// Length asked for the kernel's accept queue; the kernel clips it to `somaxconn`.
const BACKLOG: i32 = 4096;

/// A non-blocking TCP listener on `address`. An IPv6 address never accepts IPv4 [LSN-2].
///
/// # Errors
/// What the kernel says to socket, bind or listen.
pub fn tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A non-blocking UDP socket on `address`.
///
/// # Errors
/// What the kernel says to socket or bind.
pub fn udp(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// True for an error of accept(2) that is about one connection, so that the next one may be accepted
/// at once; others, such as EMFILE, call for a pause.
#[must_use]
pub fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// One sentence for a bind that failed: the address, why, and the ways out (decisions, "Names and
/// defaults").
#[must_use]
pub fn bind_help(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied if address.port() < 1024 => format!(
            "cannot listen on {address}: ports below 1024 need a privilege; use another port, give \
             the binary cap_net_bind_service with setcap, or lower \
             net.ipv4.ip_unprivileged_port_start by sysctl"
        ),
        io::ErrorKind::AddrInUse => format!(
            "cannot listen on {address}: another process has this port; stop it or use another port"
        ),
        _ => format!("cannot listen on {address}: {error}"),
    }
}
