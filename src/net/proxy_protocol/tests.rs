//! PROXY headers: vectors, every split, round trips, arbitrary bytes.

use std::net::SocketAddr;

use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn complete(bytes: &[u8]) -> Header {
    match parse(bytes) {
        Parsed::Complete { header, len } if len == bytes.len() => header,
        other => panic!("{other:?} for {bytes:02x?}"),
    }
}

fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend(be16(payload.len()));
    bytes.extend(payload);
    bytes
}

const V4_BLOCK: [u8; 12] = [10, 0, 0, 7, 10, 0, 0, 1, 0x9c, 0x40, 0x01, 0xbb];

fn v4_header() -> Header {
    Header { source: Some(addr("10.0.0.7:40000")), destination: Some(addr("10.0.0.1:443")) }
}

#[test]
fn crc32c_matches_the_published_check_value() {
    assert_eq!(crc32c(0, b"123456789"), 0xe306_9283);
    assert_eq!(crc32c(crc32c(0, b"12345"), b"6789"), 0xe306_9283);
}

#[test]
fn v1_lines_are_read() {
    assert_eq!(complete(b"PROXY TCP4 10.0.0.7 10.0.0.1 40000 443\r\n"), v4_header());
    let six = complete(b"PROXY TCP6 2001:db8::7 ::1 0 65535\r\n");
    assert_eq!(six.source, Some(addr("[2001:db8::7]:0")));
    assert_eq!(six.destination, Some(addr("[::1]:65535")));
    let mapped = complete(b"PROXY TCP6 ::ffff:10.0.0.7 ::1 1 2\r\n");
    assert_eq!(mapped.source, Some(addr("10.0.0.7:1")), "S-60: one spelling of an address");
}

/// [LSN-3] as measured (spec/route.md 26.1): only the bare line.
#[test]
fn lsn_3_unknown_is_accepted_bare_and_refused_with_text() {
    assert_eq!(complete(b"PROXY UNKNOWN\r\n"), Header::default());
    for line in ["PROXY UNKNOWN \r\n", "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"] {
        assert_eq!(parse(line.as_bytes()), Parsed::Invalid(Invalid::V1Line), "{line:?}");
    }
}

#[test]
fn v1_grammar_is_exact() {
    for line in [
        "PROXY  TCP4 10.0.0.7 10.0.0.1 1 2\r\n",
        "PROXY TCP4 10.0.0.7 10.0.0.1 1 2 \r\n",
        "PROXY TCP4 10.0.0.7 10.0.0.1 1\r\n",
        "PROXY TCP4 10.0.0.07 10.0.0.1 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 10.0.0.7 10.0.0.1 1 2\r\n",
        "PROXY TCP4 10.0.0.7 10.0.0.1 01 2\r\n",
        "PROXY TCP4 10.0.0.7 10.0.0.1 +1 2\r\n",
        "PROXY TCP4 10.0.0.7 10.0.0.1 65536 2\r\n",
        "PROXY UDP4 10.0.0.7 10.0.0.1 1 2\r\n",
        "PROXY TCP4 10.0.0.7 10.0.0.1 1 2\n",
        "PROXY TCP4 10.0.0.7\r10.0.0.1 1 2\r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Parsed::Invalid(Invalid::V1Line), "{line:?}");
    }
    assert_eq!(parse(b"POST / HTTP/1.1\r\n"), Parsed::Invalid(Invalid::NoHeader));
    assert_eq!(parse(b"\x16\x03\x01"), Parsed::Invalid(Invalid::NoHeader));
}

#[test]
fn v1_ends_within_107_bytes() {
    let mut line = b"PROXY TCP4 ".to_vec();
    line.resize(106, b'1');
    assert_eq!(parse(&line), Parsed::Incomplete);
    line.push(b'1');
    assert_eq!(parse(&line), Parsed::Invalid(Invalid::TooLong));
}

#[test]
fn bytes_behind_a_header_are_not_part_of_it() {
    let mut bytes = v2(0x21, 0x11, &V4_BLOCK);
    let header_len = bytes.len();
    bytes.extend(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(parse(&bytes), Parsed::Complete { header: v4_header(), len: header_len });
    let line = b"PROXY UNKNOWN\r\n\r\n";
    assert_eq!(parse(line), Parsed::Complete { header: Header::default(), len: line.len() - 2 });
}

/// The capture of A.7 (NLB-15): LOCAL, family 0x11, fields and no address, 100 bytes.
#[test]
fn nlb_15_the_header_of_a_health_check_is_local_and_100_bytes() {
    let mut bytes = Vec::new();
    write_v2_local(&mut bytes);
    assert_eq!(bytes.len(), 100);
    assert_eq!(&bytes[12..19], &[0x20, 0x11, 0x00, 0x54, 0x03, 0x00, 0x04]);
    assert_eq!(&bytes[23..26], &[0x04, 0x00, 0x4a]);
    assert!(bytes[26..].iter().all(|&byte| byte == 0));
    assert_eq!(complete(&bytes), Header::default());
}

/// NLB-16: the field of a PrivateLink connection is skipped like any unknown one.
#[test]
fn nlb_16_unknown_fields_are_skipped() {
    let mut payload = V4_BLOCK.to_vec();
    payload.extend([0xea, 0, 5, 1, b'v', b'p', b'c', b'e', 0xff, 0, 0]);
    assert_eq!(complete(&v2(0x21, 0x11, &payload)), v4_header());
}

/// S-59.
#[test]
fn malformed_v2_headers_are_refused_each_for_its_reason() {
    let with = |fields: &[u8]| v2(0x21, 0x11, &[&V4_BLOCK[..], fields].concat());
    let mut too_long = v2(0x21, 0x11, &[]);
    too_long[14..16].copy_from_slice(&[0x08, 0x01]);
    for (bytes, invalid) in [
        (v2(0x11, 0x11, &V4_BLOCK), Invalid::Version),
        (v2(0x22, 0x11, &V4_BLOCK), Invalid::Command),
        (v2(0x21, 0x11, &V4_BLOCK[..11]), Invalid::AddressTooShort),
        (v2(0x21, 0x21, &[0; 35]), Invalid::AddressTooShort),
        (v2(0x21, 0x12, &V4_BLOCK), Invalid::Family),
        (v2(0x21, 0x31, &[0; 216]), Invalid::Family),
        (with(&[0x04]), Invalid::Tlv),
        (with(&[0x04, 0, 2, 0]), Invalid::Tlv),
        (with(&[0x04, 0xff, 0xff, 0]), Invalid::Tlv),
        (with(&[0x03, 0, 2, 0, 0]), Invalid::Tlv),
        (with(&[0x03, 0, 4, 1, 2, 3, 4]), Invalid::Checksum),
        (too_long, Invalid::TooLong),
    ] {
        assert_eq!(parse(&bytes), Parsed::Invalid(invalid), "{bytes:02x?}");
    }
}

#[test]
fn unspecified_addresses_mean_those_of_the_socket() {
    assert_eq!(complete(&v2(0x21, 0x00, &[])), Header::default());
    assert_eq!(complete(&v2(0x20, 0x00, &[1, 2, 3])), Header::default());
}

#[test]
fn a_changed_byte_breaks_the_checksum() {
    let mut bytes = Vec::new();
    write_v2(&mut bytes, addr("10.0.0.7:40000"), addr("10.0.0.1:443"));
    assert_eq!(bytes.len(), 100);
    assert_eq!(complete(&bytes), v4_header());
    bytes[16] ^= 1;
    assert_eq!(parse(&bytes), Parsed::Invalid(Invalid::Checksum));
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<([u8; 4], u16)>().prop_map(|(ip, port)| SocketAddr::from((ip, port))),
        any::<([u8; 16], u16)>().prop_map(|(ip, port)| SocketAddr::from((ip, port))),
    ]
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(source in any_address(), destination in any_address()) {
        let mut bytes = b"before".to_vec();
        write_v2(&mut bytes, source, destination);
        let header = complete(&bytes[6..]);
        prop_assert_eq!(header.source, Some(canonical(source)));
        prop_assert_eq!(header.destination, Some(canonical(destination)));
        if source.is_ipv4() == destination.is_ipv4() {
            let word = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let line = format!(
                "PROXY {word} {} {} {} {}\r\n",
                source.ip(), destination.ip(), source.port(), destination.port(),
            );
            prop_assert_eq!(complete(line.as_bytes()), header);
        }
    }

    #[test]
    fn every_cut_of_a_header_is_incomplete(source in any_address(), destination in any_address()) {
        let mut bytes = Vec::new();
        write_v2(&mut bytes, source, destination);
        let line = b"PROXY TCP4 10.0.0.7 10.0.0.1 40000 443\r\n";
        for whole in [&bytes[..], &line[..]] {
            for cut in 0..whole.len() {
                prop_assert_eq!(parse(&whole[..cut]), Parsed::Incomplete);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_claim_more_than_there_is(
        start in 0..4_usize,
        tail in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let starts: [&[u8]; 4] = [b"", b"PROXY ", &SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"];
        let bytes = [starts[start], &tail].concat();
        if let Parsed::Complete { len, .. } = parse(&bytes) {
            prop_assert!(len <= bytes.len());
        }
    }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    client.set_nodelay(true).unwrap();
    (client, server)
}

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn read_leaves_what_is_behind_the_header() {
    let mut long = V4_BLOCK.to_vec();
    long.extend([TLV_NOOP, 0x07, 0xd0]);
    long.resize(long.len() + 2000, 0);
    for header in [
        v2(0x21, 0x11, &V4_BLOCK),
        v2(0x21, 0x11, &long),
        b"PROXY TCP4 10.0.0.7 10.0.0.1 40000 443\r\n".to_vec(),
    ] {
        let (mut client, mut server) = pair().await;
        client.write_all(&[&header[..], b"hello"].concat()).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(read(&server, LIMIT).await.unwrap(), v4_header());
        let mut rest = String::new();
        server.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "hello");
    }
}

#[tokio::test]
async fn read_waits_for_a_header_that_comes_in_pieces() {
    let (mut client, server) = pair().await;
    let mut header = Vec::new();
    write_v2(&mut header, addr("10.0.0.7:40000"), addr("10.0.0.1:443"));
    let feed = async {
        for byte in &header {
            client.write_all(std::slice::from_ref(byte)).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let (got, ()) = tokio::join!(read(&server, LIMIT), feed);
    assert_eq!(got.unwrap(), v4_header());
}

#[tokio::test]
async fn read_fails_on_silence_on_the_end_and_on_other_bytes() {
    let (mut client, server) = pair().await;
    client.write_all(b"PROXY TC").await.unwrap();
    let silent = read(&server, Duration::from_millis(20)).await;
    assert!(matches!(silent, Err(ReadError::TimedOut)), "{silent:?}");

    let (client, server) = pair().await;
    drop(client);
    let closed = read(&server, LIMIT).await;
    assert!(matches!(closed, Err(ReadError::Closed { received: 0 })), "{closed:?}");

    let (mut client, server) = pair().await;
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let other = read(&server, LIMIT).await;
    assert!(matches!(other, Err(ReadError::Invalid(Invalid::NoHeader))), "{other:?}");
}
