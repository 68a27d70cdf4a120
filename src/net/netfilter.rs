//! What the `nft` tool does not do, by netlink in the network namespace of this process: the packet
//! filter's generation, and connections that the kernel remembers.
//!
//! Called by `vip`. Always holds: no call takes longer than `LIMIT` for one answer of the kernel;
//! what the kernel says is read within its bounds, and what makes no sense is passed over.

use std::{
    io::{self, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

/// Longest time for one answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Room for one answer; the kernel's are at most 32 KiB.
const ROOM: usize = 64 << 10;
/// Bytes of a message's head, and of the head of this family of messages.
const HEAD: usize = 16;
const FAMILY_HEAD: usize = 4;

// linux/netlink.h
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
// linux/netfilter/nfnetlink.h: subsystem and message.
const CONNECTION_GET: u16 = 0x101;
const CONNECTION_DELETE: u16 = 0x102;
const GENERATION_GET: u16 = 0xa10;
// linux/netfilter/nfnetlink_conntrack.h
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const TUPLE_ADDRESSES: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;

/// A connection that the kernel remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Where its first packet was sent to, before anything changed that.
    pub destination: SocketAddr,
    /// Where answers come from: the endpoint.
    pub answers_from: SocketAddr,
    is_v6: bool,
    /// The attributes that name it, as the kernel gave them.
    name: Vec<u8>,
}

/// A number that grows with every change of the packet filter in this namespace.
///
/// # Errors
/// When the kernel has no packet filter of that kind, or does not answer.
pub async fn generation() -> io::Result<u32> {
    blocking(|| {
        let mut found = None;
        exchange(&message(GENERATION_GET, REQUEST, 0, &[]), |attributes| {
            let id = Attributes(attributes).find(1).and_then(|id| id.payload.try_into().ok());
            found = id.map(u32::from_be_bytes);
            true
        })?;
        found.ok_or_else(|| io::Error::other("the kernel tells no generation"))
    })
    .await
}

/// UDP connections for which `wanted` holds, of one family.
///
/// # Errors
/// Without CAP_NET_ADMIN, or when the kernel does not answer.
pub async fn udp_connections(
    is_v6: bool,
    wanted: impl Fn(&Connection) -> bool + Send + 'static,
) -> io::Result<Vec<Connection>> {
    blocking(move || {
        let mut found = Vec::new();
        exchange(&message(CONNECTION_GET, REQUEST | DUMP, family(is_v6), &[]), |attributes| {
            found.extend(udp_connection(is_v6, attributes).filter(&wanted));
            false
        })?;
        Ok(found)
    })
    .await
}

/// Makes the kernel forget these. One that is gone already is no error.
///
/// # Errors
/// Without CAP_NET_ADMIN, or when the kernel does not answer.
pub async fn forget(connections: Vec<Connection>) -> io::Result<()> {
    blocking(move || {
        for one in &connections {
            let flags = REQUEST | ACKNOWLEDGE;
            let request = message(CONNECTION_DELETE, flags, family(one.is_v6), &one.name);
            match exchange(&request, |_| false) {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {},
                other => other?,
            }
        }
        Ok(())
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

const fn family(is_v6: bool) -> u8 {
    // linux/socket.h: AF_INET6, AF_INET.
    if is_v6 { 10 } else { 2 }
}

fn message(kind: u16, flags: u16, family: u8, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEAD + FAMILY_HEAD + attributes.len()).unwrap_or(u32::MAX);
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Sequence, and sender: the socket is for this exchange alone.
    message.extend([0; 8]);
    message.extend([family, 0, 0, 0]);
    message.extend(attributes);
    message
}

/// Sends `request` and gives the attributes of each answer to `take`, until the last one or until it
/// says true.
fn exchange(request: &[u8], mut take: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let domain = Domain::from(libc::AF_NETLINK);
    let protocol = Protocol::from(libc::NETLINK_NETFILTER);
    let mut socket = Socket::new(domain, Type::RAW.cloexec(), Some(protocol))?;
    socket.set_read_timeout(Some(LIMIT))?;
    socket.send(request)?;
    let mut room = vec![0; ROOM];
    loop {
        let length = socket.read(&mut room)?;
        let mut rest = room.get(..length).unwrap_or_default();
        if rest.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while let Some((kind, payload, next)) = split_message(rest) {
            match kind {
                DONE => return Ok(()),
                ERROR => return status(payload),
                _ if take(payload.get(FAMILY_HEAD..).unwrap_or_default()) => return Ok(()),
                _ => rest = next,
            }
        }
    }
}

/// Kind and payload of the first message, and what follows it.
fn split_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    let payload = bytes.get(HEAD..length)?;
    Some((kind, payload, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn status(payload: &[u8]) -> io::Result<()> {
    let code = payload.get(..4).and_then(|code| code.try_into().ok()).map(i32::from_ne_bytes);
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// One attribute.
#[derive(Clone, Copy)]
struct Attribute<'a> {
    kind: u16,
    payload: &'a [u8],
    /// With its head, as long as it is in the message.
    whole: &'a [u8],
}

/// The attributes of a message.
#[derive(Clone, Copy)]
struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    fn find(mut self, kind: u16) -> Option<Attribute<'a>> {
        self.by_ref().find(|one| one.kind == kind)
    }

    fn within(self, kind: u16) -> Option<Self> {
        self.find(kind).map(|found| Self(found.payload))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let length = usize::from(u16::from_ne_bytes(self.0.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(self.0.get(2..4)?.try_into().ok()?);
        let payload = self.0.get(4..length)?;
        let end = length.next_multiple_of(4).min(self.0.len());
        let (whole, rest) = self.0.split_at(end);
        self.0 = rest;
        // The two highest bits are about the encoding.
        Some(Attribute { kind: kind & 0x3fff, payload, whole })
    }
}

fn udp_connection(is_v6: bool, attributes: &[u8]) -> Option<Connection> {
    let attributes = Attributes(attributes);
    let (original, reply) = (attributes.within(ORIGINAL)?, attributes.within(REPLY)?);
    let protocol = original.within(TUPLE_PROTOCOL)?.find(PROTOCOL_NUMBER)?.payload;
    if protocol != [17] {
        return None;
    }
    let naming = |one: &Attribute<'_>| matches!(one.kind, ORIGINAL | ID | ZONE);
    let name: Vec<u8> =
        attributes.filter(naming).flat_map(|one| one.whole.iter().copied()).collect();
    Some(Connection {
        destination: end(is_v6, original, false)?,
        answers_from: end(is_v6, reply, true)?,
        is_v6,
        name,
    })
}

/// Source or destination of a tuple.
fn end(is_v6: bool, tuple: Attributes<'_>, source: bool) -> Option<SocketAddr> {
    let (addresses, protocol) = (tuple.within(TUPLE_ADDRESSES)?, tuple.within(TUPLE_PROTOCOL)?);
    // Sources are 1 and 3, destinations 2 and 4.
    let kind = u16::from(!source) + if is_v6 { 3 } else { 1 };
    let address = addresses.find(kind)?.payload;
    let address = if is_v6 {
        IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?))
    } else {
        IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?))
    };
    let port = protocol.find(if source { SOURCE_PORT } else { DESTINATION_PORT })?.payload;
    Some(SocketAddr::new(address, u16::from_be_bytes(port.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len() + 4).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn tuple(source: &str, destination: &str, protocol: u8) -> Vec<u8> {
        let ends: [SocketAddr; 2] = [source, destination].map(|text| text.parse().unwrap());
        let octets = |address: IpAddr| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let first = if ends[0].is_ipv6() { 3 } else { 1 };
        let addresses =
            [attribute(first, &octets(ends[0].ip())), attribute(first + 1, &octets(ends[1].ip()))];
        let protocol = [
            attribute(PROTOCOL_NUMBER, &[protocol]),
            attribute(SOURCE_PORT, &ends[0].port().to_be_bytes()),
            attribute(DESTINATION_PORT, &ends[1].port().to_be_bytes()),
        ];
        // Nested ones may be marked so.
        let addresses = attribute(TUPLE_ADDRESSES | 0x8000, &addresses.concat());
        [addresses, attribute(TUPLE_PROTOCOL | 0x8000, &protocol.concat())].concat()
    }

    /// [B.5]
    #[test]
    fn a_connection_is_read_with_what_names_it() {
        for (is_v6, client, vip, pod) in [
            (false, "192.0.2.1:40000", "172.30.0.1:53", "10.0.0.7:5353"),
            (true, "[2001:db8::1]:40000", "[fd00::1]:53", "[fd01::7]:5353"),
        ] {
            let original = attribute(ORIGINAL, &tuple(client, vip, 17));
            let reply = attribute(REPLY, &tuple(pod, client, 17));
            let (mark, id) = (attribute(8, &[0; 4]), attribute(ID, &[1, 2, 3, 4]));
            let found = udp_connection(is_v6, &[&*original, &reply, &mark, &id].concat()).unwrap();
            assert_eq!(found.destination, vip.parse().unwrap());
            assert_eq!(found.answers_from, pod.parse().unwrap());
            assert_eq!(found.name, [original, id].concat());
        }
        let tcp = tuple("192.0.2.1:1", "192.0.2.2:2", 6);
        let tcp = [attribute(ORIGINAL, &tcp), attribute(REPLY, &tcp)].concat();
        assert_eq!(udp_connection(false, &tcp), None);
    }

    #[test]
    fn what_is_cut_off_is_passed_over() {
        let original = attribute(ORIGINAL, &tuple("192.0.2.1:1", "192.0.2.2:2", 17));
        let reply = attribute(REPLY, &tuple("192.0.2.2:2", "192.0.2.1:1", 17));
        let whole = [original, reply].concat();
        for length in 0..whole.len() {
            assert_eq!(udp_connection(false, &whole[..length]), None, "{length}");
        }
        let message = message(DONE, 0, 2, &whole);
        for length in 0..message.len() {
            assert!(split_message(&message[..length]).is_none(), "{length}");
        }
        assert_eq!(split_message(&message).unwrap().0, DONE);
        assert_eq!(status(&(-2_i32).to_ne_bytes()).unwrap_err().raw_os_error(), Some(2));
        assert!(status(&[0; 4]).is_ok() && status(&[0; 3]).is_err());
    }
}
