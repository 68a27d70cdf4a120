//! What the kernel knows of a TCP connection.
//!
//! Called by [`super::relay`], when a flow has been silent. Always holds: nothing is changed by asking.
#![expect(unsafe_code, reason = "neither the standard library nor socket2 has this option")]

use std::os::fd::AsRawFd;

/// Where `tcpi_segs_in` is in `struct tcp_info` (linux/tcp.h); the layout only ever grows at its end.
const SEGMENTS_IN: u16 = 140;
/// Up to the end of that field.
const LENGTH: u16 = SEGMENTS_IN + 4;

/// How many segments have come in, which counts keepalives too; none where the kernel does not say.
pub fn segments_in(connection: &impl AsRawFd) -> Option<u32> {
    let mut info = [0_u8; LENGTH as usize];
    let mut size = libc::socklen_t::from(LENGTH);
    // SAFETY: the descriptor is open, as its owner is borrowed, and the call writes no more than `size`
    // bytes, which `info` has room for.
    let done = unsafe {
        libc::getsockopt(
            connection.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    if done != 0 || size != libc::socklen_t::from(LENGTH) {
        return None;
    }
    info.last_chunk().map(|field| u32::from_ne_bytes(*field))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn segments_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut server = listener.accept().unwrap().0;
        let before = segments_in(&server).unwrap();
        for _ in 0..3 {
            client.write_all(b"x").unwrap();
            server.read_exact(&mut [0]).unwrap();
        }
        let after = segments_in(&server).unwrap();
        assert!((before + 3..before + 10).contains(&after), "{before} to {after}");
    }
}
