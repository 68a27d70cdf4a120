//! Listening sockets.
//!
//! Called by `app`, `nlb`, `dns`, `backend`, `vip` and `admin`. A listener is made once and never rebuilt on
//! a configuration change; workers share one descriptor by `try_clone`, so closing a worker's copy
//! resets nothing that waits in the queue (ARCHITECTURE.md, decisions).

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Length asked for the kernel's accept queue; the kernel clips it to `somaxconn`.
const BACKLOG: i32 = 4096;

/// A non-blocking TCP listener on `address`. An IPv6 address never accepts IPv4 [LSN-2]. Its
/// connections have Nagle's algorithm off: Linux hands the option on, which saves a call for each.
///
/// # Errors
/// What the kernel says to socket, bind or listen.
pub fn tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = closed_tcp(address)?;
    open(&listener)?;
    Ok(listener)
}

/// The same, which refuses connections until it is [`open`]ed.
///
/// # Errors
/// What the kernel says to socket or bind.
pub fn closed_tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    bound_tcp(address, false)
}

/// As [`tcp()`], on an address that need not be of this machine (yet).
///
/// # Errors
/// What the kernel says to socket, bind or listen.
pub fn virtual_tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = bound_tcp(address, true)?;
    open(&listener)?;
    Ok(listener)
}

/// A port that is taken and gives no answer: neither accepts nor refuses.
#[derive(Debug)]
pub struct Silent {
    #[cfg_attr(not(test), expect(dead_code, reason = "held open"))]
    listener: Socket,
    _plug: Socket,
}

/// Takes `address`, which need not be of this machine (yet), and lets connections wait until they
/// give up. The queue of the listener has room for one connection, which is its own; Linux gives no
/// answer to whoever comes to a full queue. A client that comes before the queue is full is connected
/// and gets nothing.
///
/// # Errors
/// What the kernel says to socket, bind, listen or connect.
pub fn silent_tcp(address: SocketAddr) -> io::Result<Silent> {
    let listener = Socket::from(bound_tcp(address, true)?);
    listener.listen(0)?;
    // Bound to the same address, so that nothing is sent where the address is not of this machine.
    let plug = Socket::from(bound_tcp(SocketAddr::new(address.ip(), 0), true)?);
    if let Err(error) = plug.connect(&listener.local_addr()?) {
        let elsewhere = [libc::EADDRNOTAVAIL, libc::EINVAL, libc::ENETUNREACH, libc::EHOSTUNREACH];
        match error.raw_os_error() {
            Some(libc::EINPROGRESS) => {},
            Some(code) if elsewhere.contains(&code) => {},
            _ => return Err(error),
        }
    }
    Ok(Silent { listener, _plug: plug })
}

fn bound_tcp(address: SocketAddr, anywhere: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    match (anywhere, address) {
        (false, _) => {},
        (true, SocketAddr::V4(_)) => socket.set_freebind_v4(true)?,
        (true, SocketAddr::V6(_)) => socket.set_freebind_v6(true)?,
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Lets connections come to a listener of [`closed_tcp`].
///
/// # Errors
/// What the kernel says to listen: another process was faster.
pub fn open(listener: &std::net::TcpListener) -> io::Result<()> {
    SockRef::from(listener).listen(BACKLOG)
}

/// A non-blocking UDP socket on `address`.
///
/// # Errors
/// What the kernel says to socket or bind.
pub fn udp(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    bound_udp(address, false)
}

/// `count` sockets as of [`udp()`] on one address, among which the kernel divides clients by their address and
/// port. Port 0 becomes one free port for all.
///
/// # Errors
/// What the kernel says to socket or bind.
pub fn udp_group(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::UdpSocket>> {
    // One alone has the port for itself.
    let first = bound_udp(address, count > 1)?;
    let bound = first.local_addr()?;
    let more = (1..count).map(|_| bound_udp(bound, true));
    std::iter::once(Ok(first)).chain(more).collect()
}

fn bound_udp(address: SocketAddr, shared: bool) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The same, on an address that need not be of this machine (yet).
///
/// # Errors
/// What the kernel says to socket or bind.
pub fn virtual_udp(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_freebind_v6(true)?;
            socket.set_only_v6(true)?;
        },
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

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn one_udp_socket_has_its_port_alone_and_several_share_one() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let one = udp_group(any, 1).unwrap();
        assert!(udp(one[0].local_addr().unwrap()).is_err());
        let several = udp_group(any, 3).unwrap();
        let bound: Vec<_> = several.iter().map(|socket| socket.local_addr().unwrap()).collect();
        assert_eq!(bound, [bound[0]; 3]);
    }

    /// [PIPE-2]: and what is bound is nobody else's.
    #[test]
    fn pipe_2_a_closed_port_refuses_until_it_is_opened() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = closed_tcp(any).unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(
            TcpStream::connect(address).unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        open(&listener).unwrap();
        TcpStream::connect(address).unwrap();
        // Once more is no error, and drops nobody.
        open(&listener).unwrap();
        TcpStream::connect(address).unwrap();
        assert_eq!(tcp(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    /// [SVC-03]: neither connected nor refused, and as ever once it is given back.
    #[test]
    fn svc_3_a_silent_port_gives_no_answer() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let silent = silent_tcp(any).unwrap();
        let address = silent.listener.local_addr().unwrap().as_socket().unwrap();
        for _ in 0..3 {
            let limit = std::time::Duration::from_millis(100);
            let error = TcpStream::connect_timeout(&address, limit).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        drop(silent);
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        virtual_tcp(address).unwrap();
    }

    #[test]
    fn connections_of_a_listener_send_small_writes_at_once() {
        let listener = tcp(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listener.set_nonblocking(false).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(listener.accept().unwrap().0.nodelay().unwrap());
    }

    #[test]
    fn a_virtual_address_need_not_be_of_this_machine() {
        for address in ["198.51.100.7:0", "[2001:db8::7]:0"] {
            let address = address.parse().unwrap();
            assert!(virtual_tcp(address).is_ok() && silent_tcp(address).is_ok(), "{address}");
        }
    }
}
