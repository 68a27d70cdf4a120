//! Hellos of every age and shape, whole and in pieces; what breaks the format names nobody.

use proptest::prelude::*;

use super::*;

/// An extension.
fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &length16(data), data].concat()
}

fn length16(data: &[u8]) -> [u8; 2] {
    u16::try_from(data.len()).unwrap().to_be_bytes()
}

/// A server_name extension with these names.
fn names(names: &[&[u8]]) -> Vec<u8> {
    let entry = |name: &&[u8]| [&[HOST_NAME][..], &length16(name), name].concat();
    let list = names.iter().flat_map(entry).collect::<Vec<_>>();
    extension(SERVER_NAME, &[&length16(&list)[..], &list].concat())
}

/// A hello with `extensions`; none at all when absent.
fn message(version: [u8; 2], extensions: Option<&[u8]>) -> Vec<u8> {
    let suites = [0x13, 0x01, 0x00, 0x2f];
    let mut body = [&version[..], &[7; 32], &[0], &[0, 4], &suites, &[1, 0]].concat();
    if let Some(extensions) = extensions {
        body.extend(length16(extensions));
        body.extend_from_slice(extensions);
    }
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[CLIENT_HELLO][..], &length[1..], &body].concat()
}

/// `message` in records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |piece: &[u8]| [&[HANDSHAKE, 3, 1][..], &length16(piece), piece].concat();
    message.chunks(size).flat_map(record).collect()
}

fn named(name: &str) -> Vec<u8> {
    message([3, 3], Some(&names(&[name.as_bytes()])))
}

fn scan(wire: &[u8]) -> Scan {
    Scanner::default().scan(wire)
}

fn name(wire: &[u8]) -> Option<String> {
    assert_eq!(scan(wire), Scan::Complete);
    server_name(wire).map(|name| String::from_utf8(name.into_owned()).unwrap())
}

/// [LSN-5]: from SSL 3.0 to 1.3, with whatever extensions there will be.
#[test]
fn lsn_5_every_version_is_read() {
    for version in [[3, 0], [3, 1], [3, 2], [3, 3], [3, 4]] {
        let grease = extension(0x1a1a, &[]);
        let unknown = extension(0xfe0d, &[9; 300]);
        let all = [grease, names(&[b"A.example.com"]), unknown].concat();
        let wire = records(&message(version, Some(&all)), MAX_RECORD);
        assert_eq!(name(&wire).as_deref(), Some("A.example.com"), "{version:?}");
    }
    let bare = records(&message([3, 0], None), MAX_RECORD);
    assert_eq!(name(&bare), None);
    let empty = records(&message([3, 3], Some(&[])), MAX_RECORD);
    assert_eq!(name(&empty), None);
}

/// S-68: the name is found however the hello is cut into records, and what follows does not matter.
#[test]
fn s_68_records_of_any_size_are_put_together() {
    let message = named("a.example.com");
    for size in 1..=message.len() {
        let mut wire = records(&message, size);
        assert_eq!(name(&wire).as_deref(), Some("a.example.com"), "{size}");
        wire.extend_from_slice(b"\x17\x03\x03\0\x05early");
        assert_eq!(name(&wire).as_deref(), Some("a.example.com"), "{size}");
        let alert = wire[..wire.len() - 11].len();
        assert_eq!(scan(&wire[..alert]), Scan::More, "{size}");
    }
    // Another message in the same record.
    let both = [&message[..], b"\x0b\0\0\x01x"].concat();
    assert_eq!(name(&records(&both, MAX_RECORD)).as_deref(), Some("a.example.com"));
}

/// S-69: no more than 16 KiB is ever waited for.
#[test]
fn s_69_a_hello_that_is_too_long_is_told_at_once() {
    let padded = |length: usize| {
        let padding = extension(21, &vec![0; length]);
        message([3, 3], Some(&[names(&[b"a.example.com"]), padding].concat()))
    };
    let fits = records(&padded(16_000), MAX_RECORD);
    assert_eq!(name(&fits).as_deref(), Some("a.example.com"));
    let long = records(&padded(60_000), MAX_RECORD);
    assert_eq!(scan(&long[..RECORD_HEADER + MESSAGE_HEADER]), Scan::TooLong);
    let short = records(&padded(10_000), 1);
    assert_eq!(scan(&short[..MAX_HELLO - 1]), Scan::More);
    assert_eq!(scan(&short[..MAX_HELLO]), Scan::TooLong);
}

#[test]
fn what_is_no_hello_is_told_by_its_first_bytes() {
    let server = [&[HANDSHAKE, 3, 3, 0, 4], &[2, 0, 0, 0][..]].concat();
    for wire in [
        b"GET / HTTP/1.1\r\n".as_slice(),
        b"PRI * HTTP/2.0\r\n",
        // SSL 2.0.
        b"\x80\x2e\x01\x03\x01",
        b"\x15\x03\x01\0\x02\x02\x28",
        b"\x16\x02\0",
        b"\x16\x03\x01\0\0",
        b"\x16\x03\x01\x40\x01",
        &server,
    ] {
        assert_eq!(scan(wire), Scan::NotTls, "{wire:?}");
    }
    for wire in
        [b"".as_slice(), b"\x16", b"\x16\x03", b"\x16\x03\x01\x02", b"\x16\x03\x01\0\x05\x01"]
    {
        assert_eq!(scan(wire), Scan::More, "{wire:?}");
    }
}

/// Two names, or a name that not every reader would find, are no name.
#[test]
fn an_ambiguous_name_is_none() {
    let one = names(&[b"a.example.com"]);
    let cases = [
        [one.clone(), names(&[b"b.example.com"])].concat(),
        names(&[b"a.example.com", b"b.example.com"]),
        names(&[b""]),
        names(&[]),
        extension(SERVER_NAME, &[]),
        // Another kind of name.
        extension(SERVER_NAME, b"\0\x06\x01\0\x03abc"),
        // A list that ends early, and one that is longer than its extension.
        extension(SERVER_NAME, b"\0\x06\0\0\x03abcd"),
        extension(SERVER_NAME, b"\0\x07\0\0\x03abc"),
        // An extension that is cut short.
        [one.clone(), vec![0, 23, 0, 9]].concat(),
    ];
    for extensions in cases {
        let wire = records(&message([3, 3], Some(&extensions)), MAX_RECORD);
        assert_eq!(name(&wire), None, "{extensions:?}");
    }
    let mut behind = message([3, 3], Some(&one));
    behind.push(0);
    behind[3] += 1;
    assert_eq!(name(&records(&behind, MAX_RECORD)), None);
}

proptest! {
    #[test]
    fn the_outcome_does_not_depend_on_how_bytes_come(
        junk in prop::collection::vec(any::<u8>(), 0..300),
        start in 0..120_usize,
        size in 1..200_usize,
        step in 1..50_usize,
    ) {
        let mut wire = records(&named("a.example.com"), size);
        let start = start.min(wire.len());
        wire.truncate(start);
        wire.extend(junk);
        let whole = scan(&wire);
        let mut scanner = Scanner::default();
        let ends = (0..wire.len()).step_by(step).chain([wire.len()]);
        let first = ends.map(|end| scanner.scan(&wire[..end])).find(|scan| *scan != Scan::More);
        prop_assert_eq!(first.unwrap_or(Scan::More), whole);
        let _any = server_name(&wire);
    }
}
