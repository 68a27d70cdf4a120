//! The sequence number that a client began its connection with.
//!
//! Called by `nlb`, whose flow hash has it (spec/l4-dns.md A.3). The kernel keeps the headers of a SYN
//! for a listener that asked for it with [`keep`], until they are asked for or the connection ends.
//! Always holds: headers that are not what they should be have no number. A connection that was made
//! from a SYN cookie has none either.
#![expect(unsafe_code, reason = "neither the standard library nor socket2 has these options")]

use std::{io, os::fd::AsRawFd};

/// Room for an IP header with options or extensions, and a TCP header.
const ROOM: u16 = 256;
/// Length of an IPv6 header without extensions.
const V6_HEADER: usize = 40;
/// Number of TCP among the protocols of IP.
const TCP: u8 = 6;

/// Lets the kernel keep the SYNs of connections that come to `listener` from now on.
///
/// # Errors
/// What the kernel says.
pub fn keep(listener: &impl AsRawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, as its owner is borrowed, and `on` has four bytes.
    let done = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_SAVE_SYN,
            (&raw const on).cast(),
            4,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The sequence number of the SYN of `connection`, once: the kernel forgets it by that.
pub fn sequence(connection: &impl AsRawFd) -> Option<u32> {
    let mut headers = [0_u8; ROOM as usize];
    let mut size = libc::socklen_t::from(ROOM);
    // SAFETY: the descriptor is open, as its owner is borrowed, and the call writes no more than `size`
    // bytes, which `headers` has room for.
    let done = unsafe {
        libc::getsockopt(
            connection.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_SAVED_SYN,
            headers.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    let length = usize::try_from(size).ok().filter(|_| done == 0)?;
    sequence_in(headers.get(..length)?)
}

/// The sequence number in the headers of a segment, from that of IP on (RFC 791 3.1, RFC 8200 3 and 4,
/// RFC 9293 3.1).
fn sequence_in(headers: &[u8]) -> Option<u32> {
    let segment = match headers.first()? >> 4 {
        4 => {
            let length = usize::from(headers[0] & 15) * 4;
            (*headers.get(9)? == TCP).then(|| headers.get(length..))??
        },
        6 => behind_extensions(*headers.get(6)?, headers.get(V6_HEADER..)?)?,
        _ => return None,
    };
    Some(u32::from_be_bytes(*segment.get(4..)?.first_chunk()?))
}

/// What follows the extensions in `rest`, the first of which is of the kind `next`.
fn behind_extensions(mut next: u8, mut rest: &[u8]) -> Option<&[u8]> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const DESTINATION: u8 = 60;
    while next != TCP {
        if ![HOP_BY_HOP, ROUTING, DESTINATION].contains(&next) {
            return None;
        }
        let [following, length, ..] = *rest else { return None };
        rest = rest.get((usize::from(length) + 1) * 8..)?;
        next = following;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use proptest::prelude::*;

    use super::*;

    fn segment(sequence: u32) -> Vec<u8> {
        let mut segment = vec![0; 20];
        segment[4..8].copy_from_slice(&sequence.to_be_bytes());
        segment
    }

    fn v4(options: usize, protocol: u8) -> Vec<u8> {
        let mut header = vec![0; 20 + options * 4];
        header[0] = 0x45 + u8::try_from(options).unwrap();
        header[9] = protocol;
        header
    }

    fn v6(next: u8) -> Vec<u8> {
        let mut header = vec![0; V6_HEADER];
        (header[0], header[6]) = (0x60, next);
        header
    }

    #[test]
    fn the_number_is_found_behind_options_and_extensions() {
        for headers in [v4(0, TCP), v4(10, TCP), v6(TCP)] {
            assert_eq!(sequence_in(&[headers, segment(0xdead_beef)].concat()), Some(0xdead_beef));
        }
        let hop = [43, 0, 0, 0, 0, 0, 0, 0];
        let routing = [&[TCP, 1][..], &[0; 14]].concat();
        let all = [v6(0), hop.to_vec(), routing, segment(7)].concat();
        assert_eq!(sequence_in(&all), Some(7));
        let udp = 17;
        for other in [v4(0, udp), v6(udp), vec![0x50; 60], vec![]] {
            assert_eq!(sequence_in(&[other, segment(7)].concat()), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_within_their_bounds(bytes in prop::collection::vec(any::<u8>(), 0..usize::from(ROOM))) {
            let _either = sequence_in(&bytes);
        }
    }

    #[test]
    fn a_connection_has_its_number_once() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(any.parse::<SocketAddr>().unwrap()).unwrap();
            let accept = || {
                let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                (client, listener.accept().unwrap().0)
            };
            let (_client, before) = accept();
            assert_eq!(sequence(&before), None);
            keep(&listener).unwrap();
            let (_client, first) = accept();
            let (_client, second) = accept();
            let numbers = [sequence(&first), sequence(&second)];
            assert!(numbers.iter().all(Option::is_some) && numbers[0] != numbers[1], "{numbers:?}");
            assert_eq!(sequence(&first), None);
        }
    }
}
