//! Header rules, EDNS and sizes on bytes.

use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::{collection::vec, prelude::*};

use super::*;

fn query(edns: Option<u16>) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii("Web.app.").unwrap(), RecordType::A));
    if let Some(size) = edns {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        message.set_edns(edns);
    }
    message
}

fn request(message: &Message, transport: Transport) -> Request {
    match read(&message.to_vec().unwrap(), transport) {
        Packet::Query(request) => *request,
        other => panic!("{other:?}"),
    }
}

fn addresses(count: u8) -> Answer {
    let record = |last| {
        let data = RData::from(std::net::IpAddr::from([10, 0, 0, last]));
        Record::from_rdata(Name::from_ascii("Web.app.").unwrap(), 5, data)
    };
    Answer { answers: (0..count).map(record).collect(), ..Answer::default() }
}

/// DNS-A, S-96
#[test]
fn an_answer_never_exceeds_what_the_client_takes() {
    for (edns, transport, limit) in [
        (None, Transport::Udp, 512),
        (Some(256), Transport::Udp, 512),
        (Some(800), Transport::Udp, 800),
        (Some(4096), Transport::Udp, 1232),
        (None, Transport::Tcp, 65_535),
    ] {
        let request = request(&query(edns), transport);
        for count in [0, 1, 29, 30, 31, 60, 100, 200] {
            let (bytes, size) = request.encode(&addresses(count), Recursion::Absent);
            assert!(bytes.len() <= limit, "{edns:?} {count}: {}", bytes.len());
            let message = Message::from_vec(&bytes).unwrap();
            assert_eq!(message.metadata.truncation, size == Size::Truncated);
            let answers = if size == Size::Whole { usize::from(count) } else { 0 };
            assert_eq!((message.answers.len(), message.queries.len()), (answers, 1));
            assert_eq!(message.edns.is_some(), edns.is_some());
            // An A record takes 16 bytes behind the question; what fits is not cut.
            let whole = 12 + 13 + 16 * usize::from(count) + if edns.is_some() { 11 } else { 0 };
            assert_eq!(size == Size::Whole, whole <= limit, "{edns:?} {count}");
        }
    }
}

#[test]
fn additional_records_go_before_anything_is_cut() {
    let request = request(&query(None), Transport::Udp);
    let answer = Answer { additionals: addresses(30).answers, ..addresses(10) };
    let (bytes, size) = request.encode(&answer, Recursion::Absent);
    let message = Message::from_vec(&bytes).unwrap();
    assert_eq!(size, Size::Whole);
    assert_eq!((message.answers.len(), message.additionals.len()), (10, 0));
}

#[test]
fn the_header_answers_the_query() {
    let request = request(&query(None), Transport::Udp);
    let answer = Answer { authoritative: true, ..addresses(1) };
    let (bytes, _) = request.encode(&answer, Recursion::Available);
    let message = Message::from_vec(&bytes).unwrap();
    let header = message.metadata;
    assert_eq!((header.id, header.message_type), (0x1234, MessageType::Response));
    assert!(header.authoritative && header.recursion_desired && header.recursion_available);
    assert!(message.queries[0].name().eq_case(&Name::from_ascii("Web.app.").unwrap()));
}

/// DNS-B
#[test]
fn an_unknown_edns_version_is_badvers() {
    let mut message = query(Some(1232));
    message.edns.as_mut().unwrap().set_version(1);
    let Packet::Refused(ResponseCode::BADVERS, bytes) =
        read(&message.to_vec().unwrap(), Transport::Udp)
    else {
        panic!("answered")
    };
    let answer = Message::from_vec(&bytes).unwrap();
    // 16 is BADVERS in an answer to EDNS; the decoder calls it by its other name, BADSIG.
    assert_eq!(u16::from(answer.metadata.response_code), 16);
    assert_eq!(answer.edns.unwrap().version(), 0);
}

#[test]
fn what_is_no_query_gets_a_bare_header_or_nothing() {
    let good = query(None).to_vec().unwrap();
    let with = |index: usize, value: u8| {
        let mut packet = good.clone();
        packet[index] = value;
        packet
    };
    let rcode = |packet: &[u8]| match read(packet, Transport::Udp) {
        Packet::Refused(rcode, bytes) => {
            assert_eq!(bytes.len(), HEADER);
            assert_eq!(bytes[..2], packet[..2]);
            assert_eq!((bytes[2] & 0x80, bytes[3]), (0x80, rcode.low()));
            Some(rcode)
        },
        Packet::Ignored => None,
        Packet::Query(_) => panic!("taken for a query"),
    };
    assert_eq!(rcode(&with(5, 0)), Some(ResponseCode::FormErr), "no question");
    assert_eq!(rcode(&with(5, 2)), Some(ResponseCode::FormErr), "two questions");
    assert_eq!(rcode(&with(4, 0xff)), Some(ResponseCode::FormErr), "65281 questions");
    assert_eq!(rcode(&good[..good.len() - 1]), Some(ResponseCode::FormErr), "cut short");
    assert_eq!(rcode(&with(2, 0x28)), Some(ResponseCode::NotImp), "update");
    assert_eq!(rcode(&with(2, 0x81)), None, "a response");
    assert_eq!(rcode(&good[..11]), None, "no header");
    assert_eq!(rcode(&[]), None, "nothing");
}

proptest! {
    #[test]
    fn no_packet_panics_and_refusals_never_amplify(packet in vec(any::<u8>(), 0..600)) {
        if let Packet::Refused(_, bytes) = read(&packet, Transport::Udp) {
            prop_assert!(bytes.len() <= 512);
        }
    }

    #[test]
    fn a_damaged_query_keeps_to_the_limit(
        edns in prop::option::of(any::<u16>()),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        count in any::<u8>(),
    ) {
        let mut packet = query(edns).to_vec().unwrap();
        for (index, byte) in damage {
            let index = index.index(packet.len());
            packet[index] = byte;
        }
        if let Packet::Query(request) = read(&packet, Transport::Udp) {
            let (bytes, _) = request.encode(&addresses(count), Recursion::Absent);
            prop_assert!(bytes.len() <= usize::from(request.limit) && request.limit <= MAX_UDP);
            prop_assert!(Message::from_vec(&bytes).is_ok());
        }
    }
}
