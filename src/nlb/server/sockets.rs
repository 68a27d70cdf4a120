//! The sockets of a listener: one for TCP, copied for each worker, and one for UDP, on one worker.
//!
//! Called by `server`. Always holds: a listener of both has one port number; a port that is taken for
//! one of them is an error, but for port 0, of which another one is tried.

use std::{io, net::SocketAddr};

use tokio::{
    net::{TcpListener, UdpSocket},
    runtime::Handle,
};

use crate::{
    net::{listen, saved_syn, udp::tell_destination},
    nlb::config::Protocol,
};

/// How often a port is looked for that is free for both.
const TRIES: u32 = 16;

/// Listening sockets with the workers that they are for.
pub(super) type TcpSockets = Vec<(Handle, TcpListener)>;

/// A socket with the worker that it is for.
pub(super) type UdpSocketOn = (Handle, UdpSocket);

/// The sockets of a listener.
pub(super) struct Sockets {
    /// Empty for a listener of UDP alone.
    pub(super) tcp: TcpSockets,
    pub(super) udp: Option<UdpSocketOn>,
    pub(super) local: SocketAddr,
}

/// Binds what a listener of `protocol` at `address` needs.
pub(super) fn bind(
    workers: &[Handle],
    protocol: Protocol,
    address: SocketAddr,
) -> io::Result<Sockets> {
    if !protocol.has_tcp() {
        let (udp, local) = bind_udp(workers, address)?;
        return Ok(Sockets { tcp: Vec::new(), udp: Some(udp), local });
    }
    let mut tries = 1;
    loop {
        let (tcp, local) = bind_tcp(workers, address)?;
        if !protocol.has_udp() {
            return Ok(Sockets { tcp, udp: None, local });
        }
        match bind_udp(workers, local) {
            Ok((udp, local)) => return Ok(Sockets { tcp, udp: Some(udp), local }),
            // The port that TCP got is taken for UDP.
            Err(error) if address.port() != 0 || tries == TRIES => return Err(error),
            Err(_taken) => tries += 1,
        }
    }
}

/// A listening socket for each worker, all of one descriptor, and where they are bound.
pub(super) fn bind_tcp(
    workers: &[Handle],
    address: SocketAddr,
) -> io::Result<(TcpSockets, SocketAddr)> {
    let socket = listen::tcp(address)?;
    saved_syn::keep(&socket)?;
    let of_worker = |worker: &Handle| {
        let copy = socket.try_clone()?;
        let _entered = worker.enter();
        Ok((worker.clone(), TcpListener::from_std(copy)?))
    };
    let sockets = workers.iter().map(of_worker).collect::<io::Result<_>>()?;
    Ok((sockets, socket.local_addr()?))
}

/// A socket on the worker that its port falls to, and where it is bound.
pub(super) fn bind_udp(
    workers: &[Handle],
    address: SocketAddr,
) -> io::Result<(UdpSocketOn, SocketAddr)> {
    let socket = listen::udp(address)?;
    let local = socket.local_addr()?;
    if local.ip().is_unspecified() {
        tell_destination(&socket, local)?;
    }
    let worker = usize::from(local.port()).checked_rem(workers.len());
    let worker = worker.map_or_else(Handle::current, |index| workers[index].clone());
    let entered = worker.enter();
    let socket = UdpSocket::from_std(socket)?;
    drop(entered);
    Ok(((worker, socket), local))
}
