//! Frames: lengths, masks, control rules, arbitrary bytes.

use super::*;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked frame as a client sends it.
fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ ..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length @ ..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        },
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        },
    }
    frame.extend(MASK);
    frame.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ MASK[index % 4]));
    frame
}

fn decode(bytes: &[u8]) -> Result<Vec<Event>, Close> {
    let mut decoder = Decoder::default();
    decoder.push(bytes);
    let mut events = Vec::new();
    while let Some(event) = decoder.next()? {
        events.push(event);
    }
    Ok(events)
}

fn text(payload: &str) -> Event {
    Event::Message(Kind::Text, Bytes::copy_from_slice(payload.as_bytes()))
}

#[test]
fn the_masked_hello_of_rfc_6455_5_7_decodes() {
    let bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode(&bytes), Ok(vec![text("Hello")]));
}

#[test]
fn lengths_of_each_form_decode() {
    for length in [0, 125, 126, 65_535, 65_536, MAX_MESSAGE] {
        let payload = vec![7; length];
        let expected = Event::Message(Kind::Binary, payload.clone().into());
        assert_eq!(decode(&client(0x82, &payload)), Ok(vec![expected]), "{length}");
    }
}

#[test]
fn one_byte_at_a_time_decodes_the_same() {
    let mut bytes = client(0x81, &[b'x'; 300]);
    bytes.extend(client(0x89, b"ping"));
    let whole = decode(&bytes).unwrap();
    let (mut decoder, mut events) = (Decoder::default(), Vec::new());
    for byte in bytes {
        decoder.push(&[byte]);
        events.extend(decoder.next().unwrap());
    }
    assert_eq!(events, whole);
}

#[test]
fn fragments_are_joined_and_control_frames_may_stand_between_them() {
    let mut bytes = client(0x01, b"He");
    bytes.extend(client(0x89, b"?"));
    bytes.extend(client(0x8a, b"unasked"));
    bytes.extend(client(0x00, b"ll"));
    bytes.extend(client(0x80, b"o"));
    assert_eq!(decode(&bytes), Ok(vec![Event::Ping("?".into()), text("Hello")]));
}

#[test]
fn a_character_split_over_fragments_is_valid_text() {
    let mut bytes = client(0x01, &[0xc3]);
    bytes.extend(client(0x80, &[0xa4]));
    assert_eq!(decode(&bytes), Ok(vec![text("ä")]));
}

#[test]
fn broken_frames_end_the_connection_with_their_reason() {
    let unmasked = vec![0x81, 0x01, b'x'];
    let mut new_message_inside = client(0x01, b"a");
    new_message_inside.extend(client(0x81, b"b"));
    let cases: [(&str, Vec<u8>, Close); 12] = [
        ("unmasked", unmasked, Close::Protocol),
        ("reserved bit", client(0xc1, b"x"), Close::Protocol),
        ("unknown data opcode", client(0x83, b"x"), Close::Protocol),
        ("unknown control opcode", client(0x8b, b"x"), Close::Protocol),
        ("fragmented ping", client(0x09, b"x"), Close::Protocol),
        ("long ping", client(0x89, &[0; 126]), Close::Protocol),
        ("continuation of nothing", client(0x80, b"x"), Close::Protocol),
        ("message inside a message", new_message_inside, Close::Protocol),
        ("length not minimal", vec![0x82, 0xfe, 0, 5, 0, 0, 0, 0], Close::Protocol),
        ("text that is not UTF-8", client(0x81, &[0xff]), Close::InvalidText),
        ("close of one byte", client(0x88, &[3]), Close::Protocol),
        ("close with a status that is never sent", client(0x88, &[3, 237]), Close::Protocol),
    ];
    for (name, bytes, close) in cases {
        assert_eq!(decode(&bytes), Err(close), "{name}");
    }
}

#[test]
fn a_message_over_the_limit_is_refused_by_its_header() {
    let length = (MAX_MESSAGE as u64 + 1).to_be_bytes();
    let header = [&[0x82, 0xff], &length[..], &MASK].concat();
    assert_eq!(decode(&header), Err(Close::TooBig));
    let mut fragments = client(0x02, &vec![0; MAX_MESSAGE - 1]);
    fragments.extend(client(0x80, b"ab"));
    assert_eq!(decode(&fragments), Err(Close::TooBig));
}

#[test]
fn after_an_error_nothing_is_decoded() {
    let mut decoder = Decoder::default();
    decoder.push(&client(0xc1, b"x"));
    assert_eq!(decoder.next(), Err(Close::Protocol));
    decoder.push(&client(0x81, b"x"));
    assert_eq!(decoder.next(), Err(Close::Protocol));
}

#[test]
fn close_frames_carry_the_status_back() {
    assert_eq!(decode(&client(0x88, &[])), Ok(vec![Event::Close(Close::ClientSilent)]));
    let normal = [0x03, 0xe8, b'b', b'y', b'e'];
    assert_eq!(decode(&client(0x88, &normal)), Ok(vec![Event::Close(Close::Client(1000))]));
    assert_eq!(encode::close(Close::Client(1000))[..], [0x88, 2, 0x03, 0xe8]);
    assert_eq!(encode::close(Close::ClientSilent)[..], [0x88, 0]);
    assert_eq!(encode::close(Close::TooBig)[..], [0x88, 2, 0x03, 0xf1]);
}

#[test]
fn lengths_are_encoded_in_their_shortest_form() {
    let head = |length: usize| {
        let mut out = BytesMut::new();
        encode::message(&mut out, Kind::Binary, &vec![0; length]);
        out[..out.len() - length].to_vec()
    };
    assert_eq!(head(125), [0x82, 125]);
    assert_eq!(head(126), [0x82, 126, 0, 126]);
    assert_eq!(head(65_536), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
}

proptest::proptest! {
    #[test]
    fn any_bytes_neither_panic_nor_grow(bytes: Vec<u8>, cut in 0_usize..64) {
        let mut decoder = Decoder::default();
        for piece in bytes.chunks(cut.max(1)) {
            decoder.push(piece);
            while let Ok(Some(_)) = decoder.next() {}
        }
        let held = decoder.partial.as_ref().map_or(0, |(_, fragments)| fragments.len());
        proptest::prop_assert!(held <= MAX_MESSAGE);
    }
}
