//! Datagrams in batches: up to [`BATCH`] received by one call, and answered by another.
//!
//! Called by `dns::server`. A batch is made once for a socket and holds all its memory. Always holds: an
//! answer goes to where its question came from, by the address as the kernel wrote it; a datagram that
//! does not fit loses its end, and says so.
#![expect(unsafe_code, reason = "neither the standard library nor socket2 has these calls")]

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
    ptr,
};

use socket2::{SockAddr, SockAddrStorage};

use super::udp::{Control, Source, destination};

/// Most datagrams in a batch.
pub const BATCH: usize = 32;

/// A datagram that came in, and room for its answer.
#[derive(Debug)]
struct Slot {
    received: Box<[u8]>,
    length: usize,
    whole: bool,
    from: SockAddr,
    control: Control,
    to: Option<IpAddr>,
    source: Option<Source>,
    reply: Box<[u8]>,
    reply_length: usize,
}

/// Room for datagrams and their answers.
#[derive(Debug)]
pub struct Batch {
    slots: Box<[Slot]>,
    /// How many hold a datagram.
    filled: usize,
    tells: bool,
}

/// A datagram and the place of its answer.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// What came, cut to the room for it.
    pub datagram: &'a [u8],
    /// False if the end was cut off.
    pub whole: bool,
    /// Who sent it.
    pub from: SocketAddr,
    /// The address of this machine that it was sent to, where the batch tells.
    pub to: Option<IpAddr>,
    /// Room for the answer.
    pub reply: &'a mut [u8],
    /// Length of the answer; 0 is none.
    pub reply_length: &'a mut usize,
}

impl Batch {
    /// Room for [`BATCH`] datagrams of up to `longest` bytes, and answers of up to `longest_reply`.
    #[must_use]
    pub fn new(longest: usize, longest_reply: usize) -> Self {
        let slot = || Slot {
            received: vec![0; longest].into(),
            length: 0,
            whole: true,
            from: SockAddr::from(SocketAddr::from(([0, 0, 0, 0], 0))),
            control: Control::default(),
            to: None,
            source: None,
            reply: vec![0; longest_reply].into(),
            reply_length: 0,
        };
        Self { slots: (0..BATCH).map(|_| slot()).collect(), filled: 0, tells: false }
    }

    /// Answers come from the address that their questions went to; its socket must
    /// [tell](super::udp::tell_destination).
    #[must_use]
    pub const fn telling(mut self, tells: bool) -> Self {
        self.tells = tells;
        self
    }

    /// Receives what waits at `socket`, up to a whole batch, without waiting; what was in the batch is
    /// forgotten. The number of datagrams.
    ///
    /// # Errors
    /// What the kernel says; `WouldBlock` if nothing waits.
    pub fn receive(&mut self, socket: &impl AsRawFd) -> io::Result<usize> {
        self.filled = 0;
        let mut names = [(); BATCH].map(|()| SockAddrStorage::zeroed());
        let mut vectors = [EMPTY_VECTOR; BATCH];
        let mut headers = [EMPTY_HEADER; BATCH];
        for (index, slot) in self.slots.iter_mut().enumerate() {
            vectors[index] = libc::iovec {
                iov_base: slot.received.as_mut_ptr().cast(),
                iov_len: slot.received.len(),
            };
            let header = &mut headers[index].msg_hdr;
            header.msg_name = (&raw mut names[index]).cast();
            header.msg_namelen = names[index].size_of();
            header.msg_iov = &raw mut vectors[index];
            header.msg_iovlen = 1;
            if self.tells {
                header.msg_control = slot.control.as_mut_ptr().cast();
                header.msg_controllen = size_of::<Control>();
            }
        }
        // SAFETY: the descriptor is open, as its owner is borrowed. Each header names memory of its own that
        // lives until the call returns, with its true size.
        let got = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH_LENGTH,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        // Negative is an error.
        let Ok(got) = usize::try_from(got) else { return Err(io::Error::last_os_error()) };
        for ((slot, header), name) in self.slots.iter_mut().zip(&headers).zip(names).take(got) {
            slot.length = header.msg_len as usize;
            slot.whole = header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            slot.reply_length = 0;
            slot.to = self.tells.then(|| destination(&header.msg_hdr)).flatten();
            // SAFETY: the kernel wrote an address of this length into the zeroed storage.
            slot.from = unsafe { SockAddr::new(name, header.msg_hdr.msg_namelen) };
        }
        self.filled = got;
        Ok(got)
    }

    /// The datagrams of the batch. One whose sender is no IP address is left out.
    pub fn exchanges(&mut self) -> impl Iterator<Item = Exchange<'_>> {
        self.slots[..self.filled].iter_mut().filter_map(|slot| {
            let Slot { received, length, whole, from, to, reply, reply_length, .. } = slot;
            Some(Exchange {
                datagram: &received[..*length],
                whole: *whole,
                from: from.as_socket()?,
                to: *to,
                reply,
                reply_length,
            })
        })
    }

    /// Sends the answers that are there, without waiting. Each is forgotten once it was sent, or could
    /// not be for a reason of its own; how many could not be.
    ///
    /// # Errors
    /// `WouldBlock` when the socket takes no more for now; the rest stays.
    pub fn reply(&mut self, socket: &impl AsRawFd) -> io::Result<usize> {
        let mut lost = 0;
        loop {
            match self.send(socket) {
                Ok(0) => return Ok(lost),
                Ok(_sent) => {},
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {},
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                // The error is that of the first one left.
                Err(_error) => {
                    lost += 1;
                    self.forget(1);
                },
            }
        }
    }

    /// Forgets all answers that are left; how many there were.
    pub fn give_up(&mut self) -> usize {
        let left = self.slots[..self.filled].iter().filter(|slot| slot.reply_length > 0).count();
        self.filled = 0;
        left
    }

    /// Sends as many as the kernel takes by one call.
    fn send(&mut self, socket: &impl AsRawFd) -> io::Result<usize> {
        let mut vectors = [EMPTY_VECTOR; BATCH];
        let mut headers = [EMPTY_HEADER; BATCH];
        let mut count: libc::c_uint = 0;
        let waiting = self.slots[..self.filled].iter_mut().filter(|slot| slot.reply_length > 0);
        for ((slot, header), vector) in waiting.zip(&mut headers).zip(&mut vectors) {
            *vector = libc::iovec {
                iov_base: slot.reply.as_mut_ptr().cast(),
                iov_len: slot.reply_length.min(slot.reply.len()),
            };
            header.msg_hdr.msg_name = slot.from.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = slot.from.len();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            slot.source = slot.to.map(Source::new);
            if let Some(source) = &mut slot.source {
                source.attach(&mut header.msg_hdr);
            }
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        // SAFETY: the descriptor is open, as its owner is borrowed. Each header names an address and bytes that
        // live in a slot of this batch, with their true sizes; the call only reads them.
        let sent = unsafe {
            libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT)
        };
        let Ok(sent) = usize::try_from(sent) else { return Err(io::Error::last_os_error()) };
        self.forget(sent);
        Ok(sent)
    }

    /// Takes the first `count` answers out.
    fn forget(&mut self, count: usize) {
        let waiting = self.slots[..self.filled].iter_mut().filter(|slot| slot.reply_length > 0);
        for slot in waiting.take(count) {
            slot.reply_length = 0;
        }
    }
}

/// [`BATCH`] as the calls want it.
const BATCH_LENGTH: libc::c_uint = 32;
const _: () = assert!(BATCH_LENGTH as usize == BATCH);

const EMPTY_VECTOR: libc::iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };

// SAFETY: a header is numbers and pointers; all zero is one that names nothing.
const EMPTY_HEADER: libc::mmsghdr = unsafe { std::mem::zeroed() };

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::{super::udp::tell_destination, *};

    fn pair(address: &str) -> (UdpSocket, Vec<UdpSocket>) {
        let bound = || UdpSocket::bind(address).unwrap();
        let server = bound();
        server.set_nonblocking(true).unwrap();
        (server, (0..3).map(|_| bound()).collect())
    }

    /// Each client gets its own answer, from IPv4 and IPv6 alike; one without an answer gets none.
    #[test]
    fn answers_go_back_to_their_questions() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (server, clients) = pair(address);
            for (number, client) in clients.iter().enumerate() {
                client
                    .send_to(&[u8::try_from(number).unwrap(); 5], server.local_addr().unwrap())
                    .unwrap();
            }
            let mut batch = Batch::new(16, 16);
            assert_eq!(batch.receive(&server).unwrap(), 3);
            for exchange in batch.exchanges().filter(|exchange| exchange.datagram[0] != 1) {
                assert!(exchange.whole && exchange.datagram.len() == 5);
                exchange.reply[..2].copy_from_slice(&[exchange.datagram[0], 9]);
                *exchange.reply_length = 2;
            }
            assert_eq!(batch.reply(&server).unwrap(), 0);
            for number in [0, 2] {
                let mut answer = [0; 16];
                assert_eq!(clients[number].recv(&mut answer).unwrap(), 2);
                assert_eq!(usize::from(answer[0]), number);
            }
            clients[1].set_nonblocking(true).unwrap();
            assert_eq!(clients[1].recv(&mut [0; 1]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            assert_eq!(batch.receive(&server).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            assert_eq!((batch.exchanges().count(), batch.give_up()), (0, 0));
        }
    }

    /// Behind "all addresses" each answer comes from the address that was asked.
    #[test]
    fn answers_come_from_where_questions_went() {
        for (any, asked) in [("0.0.0.0:0", ["127.0.0.1", "127.0.0.9"]), ("[::]:0", ["::1", "::1"])]
        {
            let server = UdpSocket::bind(any).unwrap();
            let local = server.local_addr().unwrap();
            tell_destination(&server, local).unwrap();
            let asked: [IpAddr; 2] = asked.map(|address| address.parse().unwrap());
            let clients = asked.map(|address| {
                let client = UdpSocket::bind(SocketAddr::new(address, 0)).unwrap();
                // It takes no answer from elsewhere.
                client.connect(SocketAddr::new(address, local.port())).unwrap();
                client.send(b"question").unwrap();
                client
            });
            let mut batch = Batch::new(16, 16).telling(true);
            assert_eq!(batch.receive(&server).unwrap(), 2);
            for (exchange, address) in batch.exchanges().zip(asked) {
                assert_eq!(exchange.to, Some(address));
                *exchange.reply_length = 5;
            }
            assert_eq!(batch.reply(&server).unwrap(), 0);
            for client in clients {
                assert_eq!(client.recv(&mut [0; 16]).unwrap(), 5);
            }
        }
    }

    #[test]
    fn more_than_a_batch_takes_two_and_a_long_datagram_loses_its_end() {
        let (server, clients) = pair("127.0.0.1:0");
        for _ in 0..=BATCH {
            clients[0].send_to(&[7; 20], server.local_addr().unwrap()).unwrap();
        }
        let mut batch = Batch::new(16, 16);
        assert_eq!(batch.receive(&server).unwrap(), BATCH);
        assert!(batch.exchanges().all(|exchange| !exchange.whole && exchange.datagram == [7; 16]));
        assert_eq!(batch.receive(&server).unwrap(), 1);
    }

    /// Nobody can be answered at port 0: that answer is lost, the others are not.
    #[test]
    fn an_answer_that_cannot_be_sent_concerns_no_other() {
        let (server, clients) = pair("127.0.0.1:0");
        for client in &clients {
            client.send_to(b"question", server.local_addr().unwrap()).unwrap();
        }
        let mut batch = Batch::new(16, 16);
        assert_eq!(batch.receive(&server).unwrap(), 3);
        batch.slots[1].from = SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0)));
        for exchange in batch.exchanges() {
            *exchange.reply_length = 3;
        }
        assert_eq!(batch.reply(&server).unwrap(), 1);
        for client in [&clients[0], &clients[2]] {
            assert_eq!(client.recv(&mut [0; 16]).unwrap(), 3);
        }
    }
}
