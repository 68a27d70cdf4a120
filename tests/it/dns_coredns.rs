//! [DNS-I] The same cluster and the same questions as a real CoreDNS was asked (`tests/data/coredns`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a step that fails fails the test")]

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Record, RecordType},
};
use tokio::{net::UdpSocket, time::timeout};
use wharf::zone::ZoneOptions;

use crate::{
    dns::{query, serve},
    harness::LIMIT,
};

const ANSWERS: &str = include_str!("../data/coredns/answers.txt");
const DIFFERENCES: &str = include_str!("../data/coredns/differences.txt");

/// The lines below each question.
fn read(text: &str) -> BTreeMap<&str, Vec<String>> {
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut last = None;
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match (line.strip_prefix("? "), last) {
            (Some(question), _) => {
                assert!(found.insert(question, Vec::new()).is_none(), "{question} is there twice");
                last = Some(question);
            },
            (None, Some(question)) => found.get_mut(question).unwrap().push(line.to_owned()),
            (None, None) => panic!("{line} belongs to no question"),
        }
    }
    found
}

/// Records as `tests/data/coredns/record` writes them.
fn rows(section: &[Record], mark: char) -> Vec<String> {
    let row = |record: &Record| {
        let (name, kind) = (record.name.to_ascii().to_lowercase(), record.record_type());
        let data = match kind {
            RecordType::SOA | RecordType::NS => String::new(),
            RecordType::TXT => format!(" \"{}\"", record.data),
            _ => format!(" {}", record.data).to_lowercase(),
        };
        format!("{mark} {name} {} {kind}{data}", record.ttl)
    };
    let mut rows: Vec<String> = section.iter().map(row).collect();
    rows.sort();
    rows
}

async fn ask(socket: &UdpSocket, server: SocketAddr, question: &str) -> Vec<String> {
    let (name, record_type) = question.split_once(' ').unwrap();
    socket.send_to(&query(name, record_type), server).await.unwrap();
    let mut buffer = [0; 1_232];
    let length = timeout(LIMIT, socket.recv(&mut buffer)).await.unwrap().unwrap();
    let message = Message::from_vec(&buffer[..length]).unwrap();
    let mut said = match message.metadata.response_code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::ServFail => "SERVFAIL",
        other => panic!("{question}: {other}"),
    }
    .to_owned();
    for (flag, set) in
        [(" aa", message.metadata.authoritative), (" tc", message.metadata.truncation)]
    {
        said.push_str(if set { flag } else { "" });
    }
    let mut lines = vec![said];
    lines.extend(rows(&message.answers, '='));
    lines.extend(rows(&message.authorities, '^'));
    lines
}

/// [DNS-I] Every question gets CoreDNS's answer, but those of the list, which get another one.
#[tokio::test]
async fn dns_i_answers_are_those_of_coredns() {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/coredns/objects.yaml");
    let (server, _running) = serve(fixture, ZoneOptions::default(), None).await;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (answers, differences) = (read(ANSWERS), read(DIFFERENCES));
    assert!(answers.len() > 1_000 && differences.len() < 120, "the lists are whole");
    for (question, differently) in &differences {
        assert_ne!(answers.get(question), Some(differently), "{question} is no difference");
        assert!(answers.contains_key(question), "{question} was never asked");
    }
    for (question, theirs) in &answers {
        let wanted = differences.get(question).unwrap_or(theirs);
        assert_eq!(&ask(&socket, server, question).await, wanted, "{question}");
    }
}
