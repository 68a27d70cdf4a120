//! PROXY protocol headers, versions 1 and 2: reading, writing, and the one function that takes a
//! header off a socket.
//!
//! Called by `proxy` (listeners with `--proxy-protocol`), `nlb` and `probe`. Always holds: bytes
//! decide nothing before the header is complete, [`read`] takes not one byte behind the header, and
//! both the size and the wait are bounded. An IPv4 address written as IPv6 comes out as IPv4
//! (S-60), so that an allow list sees one spelling.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use tokio::net::TcpStream;

/// What starts every version 2 header.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const V2_FIXED: usize = 16;
/// Payload that we write: what the AWS load balancer sends, 100 bytes in all (A.7).
const V2_WRITTEN_PAYLOAD: usize = 84;
/// Longest payload of version 2 that is read (S-59). The format itself would allow 64 KiB.
const V2_MAX_PAYLOAD: usize = 2048;
/// Longest version 1 header, with its line end.
const V1_MAX: usize = 107;
const TLV_CRC32C: u8 = 0x03;
const TLV_NOOP: u8 = 0x04;

/// What a header says about the connection. Both are `None` for LOCAL and UNKNOWN: the addresses of
/// the socket are the right ones then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The real client.
    pub source: Option<SocketAddr>,
    /// The address that the client connected to.
    pub destination: Option<SocketAddr>,
}

/// Outcome of looking at the first bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A header takes up the first `len` bytes.
    Complete {
        /// What it says.
        header: Header,
        /// Its length in bytes.
        len: usize,
    },
    /// So far it could be a header; more bytes are needed.
    Incomplete,
    /// It cannot become a header.
    Invalid(Invalid),
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// An address block that is too short for its family.
    #[error("address block is cut short")]
    AddressTooShort,
    /// The CRC32C field does not match.
    #[error("checksum does not match")]
    Checksum,
    /// A command other than LOCAL and PROXY.
    #[error("unknown command")]
    Command,
    /// Addresses that no TCP connection has: UDP, unix sockets, unknown families.
    #[error("address family is not TCP over IPv4 or IPv6")]
    Family,
    /// Neither signature.
    #[error("no PROXY header")]
    NoHeader,
    /// A field that runs over the end of the header.
    #[error("field runs over the end of the header")]
    Tlv,
    /// More bytes than the format (version 1) or the limit (version 2) allows.
    #[error("header is too long")]
    TooLong,
    /// A version 1 line that breaks the grammar, text behind UNKNOWN included.
    #[error("malformed version 1 line")]
    V1Line,
    /// A version other than 2 behind the signature.
    #[error("unknown version")]
    Version,
}

/// Why [`read`] did not return a header.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The peer closed first.
    #[error("closed after {received} bytes of a PROXY header")]
    Closed {
        /// Bytes seen before the end; 0 is what a bare connect-and-close check leaves.
        received: usize,
    },
    /// What came is no header.
    #[error("bad PROXY header")]
    Invalid(#[from] Invalid),
    /// The socket failed.
    #[error("reading a PROXY header failed")]
    Io(#[from] io::Error),
    /// No complete header within the limit.
    #[error("no complete PROXY header in time")]
    TimedOut,
}

/// Looks for a header at the start of `bytes`.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed {
    let outcome = match bytes.first() {
        None => return Parsed::Incomplete,
        Some(b'P') => parse_v1(bytes),
        Some(_) => parse_v2(bytes),
    };
    match outcome {
        Ok(Some((header, len))) => Parsed::Complete { header, len },
        Ok(None) => Parsed::Incomplete,
        Err(invalid) => Parsed::Invalid(invalid),
    }
}

/// `Ok(None)` means that more bytes are needed.
type Outcome = Result<Option<(Header, usize)>, Invalid>;

fn parse_v1(bytes: &[u8]) -> Outcome {
    const START: &[u8] = b"PROXY ";
    let common = bytes.len().min(START.len());
    if bytes[..common] != START[..common] {
        return Err(Invalid::NoHeader);
    }
    let window = &bytes[..bytes.len().min(V1_MAX)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        let stray = window.iter().rev().skip(1).any(|&byte| byte == b'\r' || byte == b'\n');
        return match () {
            () if stray || window.last() == Some(&b'\n') => Err(Invalid::V1Line),
            () if window.len() == V1_MAX => Err(Invalid::TooLong),
            () => Ok(None),
        };
    };
    let line = std::str::from_utf8(&window[..end]).map_err(|_not_text| Invalid::V1Line)?;
    Ok(Some((v1_line(line).ok_or(Invalid::V1Line)?, end + 2)))
}

/// The line without its end. `PROXY UNKNOWN` with text behind it is legal in the format and refused
/// here, as OpenShift's router does (spec/route.md 26.1, LSN-3).
fn v1_line(line: &str) -> Option<Header> {
    if line == "PROXY UNKNOWN" {
        return Some(Header::default());
    }
    let fields: Vec<&str> = line.split(' ').collect();
    let [_, family, source, destination, source_port, destination_port] = fields[..] else {
        return None;
    };
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => Ipv4Addr::from_str(text).ok().map(IpAddr::V4),
            "TCP6" => Ipv6Addr::from_str(text).ok().map(|ip| ip.to_canonical()),
            _ => None,
        }
    };
    Some(Header {
        source: Some(SocketAddr::new(address(source)?, v1_port(source_port)?)),
        destination: Some(SocketAddr::new(address(destination)?, v1_port(destination_port)?)),
    })
}

/// Digits without sign and leading zero.
fn v1_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}

fn parse_v2(bytes: &[u8]) -> Outcome {
    let common = bytes.len().min(SIGNATURE.len());
    if bytes[..common] != SIGNATURE[..common] {
        return Err(Invalid::NoHeader);
    }
    let Some(fixed) = bytes.first_chunk::<V2_FIXED>() else { return Ok(None) };
    if fixed[12] >> 4 != 2 {
        return Err(Invalid::Version);
    }
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > V2_MAX_PAYLOAD {
        return Err(Invalid::TooLong);
    }
    let len = V2_FIXED + length;
    let Some(whole) = bytes.get(..len) else { return Ok(None) };
    let header = match fixed[12] & 0x0f {
        // What is behind LOCAL carries no meaning, whatever the family byte says: the load
        // balancer's own checks send family 0x11 with fields alone (A.7).
        0 => Header::default(),
        1 => v2_addresses(whole, fixed[13])?,
        _ => return Err(Invalid::Command),
    };
    Ok(Some((header, len)))
}

/// Addresses of a complete PROXY header, with its other fields checked.
fn v2_addresses(whole: &[u8], family: u8) -> Result<Header, Invalid> {
    let payload = &whole[V2_FIXED..];
    let (header, fields_at) = match family {
        0x00 => (Header::default(), 0),
        0x11 => {
            let block = payload.first_chunk::<12>().ok_or(Invalid::AddressTooShort)?;
            let ip =
                |at: usize| IpAddr::from([block[at], block[at + 1], block[at + 2], block[at + 3]]);
            (v2_header(ip(0), ip(4), &block[8..]), block.len())
        },
        0x21 => {
            let block = payload.first_chunk::<36>().ok_or(Invalid::AddressTooShort)?;
            let ip = |at: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&block[at..at + 16]);
                Ipv6Addr::from(octets).to_canonical()
            };
            (v2_header(ip(0), ip(16), &block[32..]), block.len())
        },
        _ => return Err(Invalid::Family),
    };
    check_fields(whole, V2_FIXED + fields_at)?;
    Ok(header)
}

fn v2_header(source: IpAddr, destination: IpAddr, ports: &[u8]) -> Header {
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    Header {
        source: Some(SocketAddr::new(source, port(0))),
        destination: Some(SocketAddr::new(destination, port(2))),
    }
}

/// Walks the type-length-value fields from `at` on: they fill the header exactly, and a checksum
/// matches if there is one. Unknown types are skipped.
fn check_fields(whole: &[u8], mut at: usize) -> Result<(), Invalid> {
    while at < whole.len() {
        let head = whole[at..].first_chunk::<3>().ok_or(Invalid::Tlv)?;
        let value_at = at + head.len();
        let end = value_at + usize::from(u16::from_be_bytes([head[1], head[2]]));
        let value = whole.get(value_at..end).ok_or(Invalid::Tlv)?;
        if head[0] == TLV_CRC32C {
            let sent: [u8; 4] = value.try_into().map_err(|_length| Invalid::Tlv)?;
            let sum = crc32c(crc32c(crc32c(0, &whole[..value_at]), &[0; 4]), &whole[end..]);
            if u32::from_be_bytes(sent) != sum {
                return Err(Invalid::Checksum);
            }
        }
        at = end;
    }
    Ok(())
}

/// Appends a version 2 PROXY header with checksum and padding, 100 bytes in all (A.7). If the
/// families differ, the IPv4 side is written as a mapped IPv6 address.
pub fn write_v2(out: &mut Vec<u8>, source: SocketAddr, destination: SocketAddr) {
    let mut addresses = Vec::with_capacity(36);
    let family = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            addresses.extend(from.octets());
            addresses.extend(to.octets());
            0x11
        },
        (from, to) => {
            addresses.extend(to_v6(from).octets());
            addresses.extend(to_v6(to).octets());
            0x21
        },
    };
    addresses.extend(source.port().to_be_bytes());
    addresses.extend(destination.port().to_be_bytes());
    write(out, 0x21, family, &addresses);
}

/// Appends a version 2 LOCAL header as the load balancer's health checks carry it: family 0x11, no
/// address, checksum and padding, 100 bytes in all (A.7).
pub fn write_v2_local(out: &mut Vec<u8>) {
    write(out, 0x20, 0x11, &[]);
}

fn write(out: &mut Vec<u8>, command: u8, family: u8, addresses: &[u8]) {
    const TLV_HEAD: usize = 3;
    let start = out.len();
    out.extend(SIGNATURE);
    out.extend([command, family]);
    out.extend(be16(V2_WRITTEN_PAYLOAD));
    out.extend(addresses);
    out.push(TLV_CRC32C);
    out.extend(be16(4));
    let sum_at = out.len();
    out.extend([0; 4]);
    out.push(TLV_NOOP);
    let padding = V2_WRITTEN_PAYLOAD - addresses.len() - (TLV_HEAD + 4) - TLV_HEAD;
    out.extend(be16(padding));
    out.resize(out.len() + padding, 0);
    let sum = crc32c(0, &out[start..]);
    out[sum_at..sum_at + 4].copy_from_slice(&sum.to_be_bytes());
}

fn to_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

fn be16(length: usize) -> [u8; 2] {
    u16::try_from(length).expect("lengths that are written are below 100").to_be_bytes()
}

/// Takes one header off `stream` and leaves every byte behind it in the socket.
///
/// # Errors
/// No complete, valid header within `limit`, which counts from the call to the last byte.
pub async fn read(stream: &TcpStream, limit: Duration) -> Result<Header, ReadError> {
    tokio::time::timeout(limit, take(stream)).await.map_err(|_elapsed| ReadError::TimedOut)?
}

/// Looks before it reads: while the bytes seen are not a whole header, all of them belong to it and
/// may be consumed, so the next look waits for new bytes instead of spinning.
async fn take(stream: &TcpStream) -> Result<Header, ReadError> {
    let mut buffer = vec![0; 256];
    let mut taken = 0;
    loop {
        let seen = taken + stream.peek(&mut buffer[taken..]).await?;
        if seen == taken {
            return Err(ReadError::Closed { received: taken });
        }
        let (header, until) = match parse(&buffer[..seen]) {
            Parsed::Complete { header, len } => (Some(header), len),
            Parsed::Incomplete => (None, seen),
            Parsed::Invalid(invalid) => return Err(invalid.into()),
        };
        while taken < until {
            taken += read_some(stream, &mut buffer[taken..until]).await?;
        }
        if let Some(header) = header {
            return Ok(header);
        }
        if taken == buffer.len() {
            buffer.resize(V2_FIXED + V2_MAX_PAYLOAD, 0);
        }
    }
}

/// Reads between one byte and a full `buffer`.
async fn read_some(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {},
            Err(error) => return Err(error),
        }
    }
}

/// CRC-32C (Castagnoli) of `bytes`, continuing from `sum`; start with 0.
fn crc32c(sum: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = crc32c_table();
    !bytes
        .iter()
        .fold(!sum, |sum, &byte| (sum >> 8) ^ TABLE[usize::from(sum.to_le_bytes()[0] ^ byte)])
}

const fn crc32c_table() -> [u32; 256] {
    const REVERSED_POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut table = [0; 256];
    let mut index: u32 = 0;
    while index < 256 {
        let mut value = index;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ REVERSED_POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[index as usize] = value;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests;
