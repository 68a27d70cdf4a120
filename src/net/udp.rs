//! Datagrams with the address of this machine that they came to, and answers from it.
//!
//! Called by `nlb::udp`, `vip::udp` and `dns::server`, directly and through [`super::datagrams`], whose sockets may be
//! bound to all addresses: a client takes an answer only from the address that it wrote to. Always holds: a call never waits.
#![expect(unsafe_code, reason = "neither the standard library nor socket2 has these options")]

use std::{
    io,
    mem::{size_of, size_of_val},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
    ptr,
};

use socket2::{SockAddr, SockAddrStorage};

/// The longest datagram.
pub const LONGEST: usize = 65_535;

/// Room for one control message with an address, aligned as the kernel wants it.
pub(super) type Control = [u64; 8];

/// A datagram that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its length.
    pub length: usize,
    /// Who sent it.
    pub from: SocketAddr,
    /// The address that it was sent to, where the socket [tells](tell_destination).
    pub to: Option<IpAddr>,
}

/// A non-blocking socket to `address`: nothing comes through it from anybody else.
///
/// # Errors
/// What the kernel says to socket, bind or connect.
pub fn connected(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Lets `socket`, which is bound to an address like `local`, tell where its datagrams were sent to.
///
/// # Errors
/// What the kernel says.
pub fn tell_destination(socket: &impl AsRawFd, local: SocketAddr) -> io::Result<()> {
    let (level, option) = match local {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, as its owner is borrowed, and `on` has four bytes.
    let done =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), 4) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes a datagram; what `room` is too small for is lost.
///
/// # Errors
/// What the kernel says; `WouldBlock` if there is none.
pub fn receive(socket: &impl AsRawFd, room: &mut [u8]) -> io::Result<Received> {
    let mut name = SockAddrStorage::zeroed();
    let mut control = Control::default();
    let mut part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    let mut header = header(&mut part);
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = name.size_of();
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of::<Control>();
    // SAFETY: the descriptor is open, as its owner is borrowed; the header names memory that lives
    // until the call returns, with its true sizes.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    // Negative is an error.
    let Ok(length) = usize::try_from(length) else { return Err(io::Error::last_os_error()) };
    // SAFETY: the kernel wrote an address of this length into the zeroed storage.
    let from = unsafe { SockAddr::new(name, header.msg_namelen) };
    let from = from.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    Ok(Received { length, from, to: destination(&header) })
}

/// The address in the control messages of a header that the kernel has filled.
pub(super) fn destination(header: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the call that filled the header has returned: its control part holds whole messages, as
    // many as its length says.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: it is null or one of those messages.
    while let Some(found) = unsafe { message.as_ref() } {
        // SAFETY: what follows its header, which is part of the same memory.
        let data = unsafe { libc::CMSG_DATA(message) };
        match (found.cmsg_level, found.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: a message of this kind has this behind its header.
                let info: libc::in_pktinfo = unsafe { ptr::read_unaligned(data.cast()) };
                return Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into());
            },
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: as above.
                let info: libc::in6_pktinfo = unsafe { ptr::read_unaligned(data.cast()) };
                return Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
            },
            // SAFETY: it looks no further than the length in the header.
            _ => message = unsafe { libc::CMSG_NXTHDR(header, message) },
        }
    }
    None
}

/// Sends a datagram to `to`, from the address `from` of this machine where one is given.
///
/// # Errors
/// What the kernel says; `WouldBlock` if the socket's queue is full.
pub fn send(
    socket: &impl AsRawFd,
    datagram: &[u8],
    to: SocketAddr,
    from: Option<IpAddr>,
) -> io::Result<usize> {
    let to = SockAddr::from(to);
    let mut part =
        libc::iovec { iov_base: datagram.as_ptr().cast_mut().cast(), iov_len: datagram.len() };
    let mut header = header(&mut part);
    header.msg_name = to.as_ptr().cast_mut().cast();
    header.msg_namelen = to.len();
    let mut source = from.map(Source::new);
    if let Some(source) = &mut source {
        source.attach(&mut header);
    }
    // SAFETY: the descriptor is open, as its owner is borrowed; the header names memory that lives
    // until the call returns, with its true sizes, and the call only reads it.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) };
    usize::try_from(sent).map_err(|_negative| io::Error::last_os_error())
}

/// The control message that says which address of this machine a datagram comes from.
pub(super) enum Source {
    V4(Message<libc::in_pktinfo>),
    V6(Message<libc::in6_pktinfo>),
}

impl Source {
    pub(super) fn new(from: IpAddr) -> Self {
        match from {
            IpAddr::V4(from) => {
                let source = libc::in_addr { s_addr: u32::from(from).to_be() };
                let none = libc::in_addr { s_addr: 0 };
                let info =
                    libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: none };
                Self::V4(Message::new(libc::IPPROTO_IP, libc::IP_PKTINFO, info))
            },
            IpAddr::V6(from) => {
                let source = libc::in6_addr { s6_addr: from.octets() };
                let info = libc::in6_pktinfo { ipi6_addr: source, ipi6_ifindex: 0 };
                Self::V6(Message::new(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info))
            },
        }
    }

    /// Puts it into a header, which must be used while it is there.
    pub(super) fn attach(&mut self, header: &mut libc::msghdr) {
        match self {
            Self::V4(message) => {
                header.msg_controllen = size_of_val(message);
                header.msg_control = ptr::from_mut(message).cast();
            },
            Self::V6(message) => {
                header.msg_controllen = size_of_val(message);
                header.msg_control = ptr::from_mut(message).cast();
            },
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source")
    }
}

/// A control message as it lies in memory: its size is that which the kernel's macros give it, since
/// both round up to the alignment of the header.
#[repr(C)]
pub(super) struct Message<T> {
    header: libc::cmsghdr,
    data: T,
}

impl<T> Message<T> {
    fn new(level: libc::c_int, kind: libc::c_int, data: T) -> Self {
        // SAFETY: a header is numbers.
        let mut header: libc::cmsghdr = unsafe { std::mem::zeroed() };
        header.cmsg_len = size_of::<libc::cmsghdr>() + size_of::<T>();
        header.cmsg_level = level;
        header.cmsg_type = kind;
        Self { header, data }
    }
}

/// A header with one part and nothing else.
fn header(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: a header is numbers and pointers; all zero is one that names nothing.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = part;
    header.msg_iovlen = 1;
    header
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// Behind "all addresses" an answer comes from the address that was asked, of either family.
    #[test]
    fn an_answer_comes_from_where_the_question_went() {
        for (any, asked) in [("0.0.0.0:0", "127.0.0.9"), ("[::]:0", "::1")] {
            let server = UdpSocket::bind(any).unwrap();
            let local = server.local_addr().unwrap();
            let asked: IpAddr = asked.parse().unwrap();
            let client = UdpSocket::bind(SocketAddr::new(asked, 0)).unwrap();
            client.connect(SocketAddr::new(asked, local.port())).unwrap();
            tell_destination(&server, local).unwrap();
            client.send(b"question").unwrap();
            let mut room = [0; 16];
            let received = receive(&server, &mut room).unwrap();
            let from = client.local_addr().unwrap();
            assert_eq!(received, Received { length: 8, from, to: Some(asked) });
            assert_eq!(&room[..8], b"question");
            assert_eq!(send(&server, b"answer", from, received.to).unwrap(), 6);
            // The client is connected: it takes no answer from elsewhere.
            assert_eq!(client.recv(&mut room).unwrap(), 6);
            let none = receive(&server, &mut room).unwrap_err();
            assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn a_socket_that_does_not_tell_has_no_destination() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(&[7; 20], server.local_addr().unwrap()).unwrap();
        let mut room = [0; 16];
        let received = receive(&server, &mut room).unwrap();
        assert_eq!((received.length, received.to), (16, None), "the end is lost");
        let to = client.local_addr().unwrap();
        assert_eq!(send(&server, b"answer", to, None).unwrap(), 6);
        assert_eq!(client.recv(&mut room).unwrap(), 6);
    }
}
