//! Cluster DNS on real sockets: the truth table of spec/l4-dns.md C.4, by UDP and by TCP.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a step that fails fails the test")]

use std::{net::SocketAddr, sync::Arc, time::Instant};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::watch,
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use wharf::{
    app::dns::{ZoneService, bind, serve_zone},
    dns::{resolver::Resolver, server::Settings},
    model::objects::Objects,
    source::directory::Directory,
    zone::ZoneOptions,
};

use crate::harness::LIMIT;

/// What a server said, or what it should say. Lists are sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Response code.
    pub(crate) code: String,
    /// There is more: TC.
    pub(crate) cut: bool,
    /// Data of the answer section.
    pub(crate) answers: Vec<String>,
    /// Addresses of the additional section.
    pub(crate) additional: Vec<String>,
    /// Owners of the SOA records of the authority section.
    pub(crate) soas: Vec<String>,
}

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// Absolute name.
    pub(crate) name: String,
    /// Type.
    pub(crate) record_type: String,
    /// What the server should say.
    pub(crate) wanted: Said,
}

/// The reverse zones of the fixture.
const REVERSE: [&str; 3] =
    ["0.10.in-addr.arpa", "168.192.in-addr.arpa", "0.0.0.0.d.c.b.a.8.7.6.5.ip6.arpa"];

/// The rows of `tests/data/dns/c4.txt`.
pub(crate) fn table() -> Vec<Row> {
    let text = include_str!("../data/dns/c4.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let rows: Vec<Row> = lines.map(row).collect();
    assert!(rows.len() > 50, "the table is whole");
    rows
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let [name, record_type, code, answers, additional] = cells[..] else { panic!("{line}") };
    let list = |cell: &str| {
        let mut list: Vec<String> =
            cell.split(';').map(|item| item.trim().to_owned()).filter(|i| !i.is_empty()).collect();
        list.sort();
        list
    };
    let below = if name.ends_with('.') { "" } else { ".cluster.local." };
    let name = format!("{name}{below}");
    let answers = list(answers);
    let apexes = REVERSE.into_iter().chain(["cluster.local"]).map(|zone| format!("{zone}."));
    let apex = apexes.filter(|zone| name.ends_with(zone)).collect();
    let (code, flag) = code.split_once(' ').unwrap_or((code, ""));
    Row {
        name,
        record_type: record_type.to_owned(),
        wanted: Said {
            code: code.to_owned(),
            cut: flag == "tc",
            soas: if answers.is_empty() { apex } else { Vec::new() },
            answers,
            additional: list(additional),
        },
    }
}

/// The data of a record as the table has it: any serial is `*`.
pub(crate) fn without_serial(data: &str) -> String {
    let mut fields: Vec<&str> = data.split(' ').collect();
    if let [_, _, serial, _, _, _, _] = &mut fields[..] {
        *serial = "*";
    }
    fields.join(" ")
}

/// A name server that knows `ext.interwebs.test` and nothing else, and says that there is more; by UDP
/// only. It stops with the test.
pub(crate) async fn outside() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1_232];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let mut answer = Message::from_vec(&buffer[..length]).unwrap().into_response();
            let name = answer.queries[0].name().clone();
            answer.metadata.response_code = ResponseCode::NXDomain;
            if name.to_ascii() == "ext.interwebs.test." {
                answer.metadata.response_code = ResponseCode::NoError;
                answer.metadata.truncation = true;
                let data = RData::A("1.2.3.4".parse().unwrap());
                answer.add_answer(Record::from_rdata(name, 60, data));
            }
            socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
        }
    });
    address
}

/// A server of `tests/data/dns/c4.yaml`; it stops when the guard is dropped.
pub(crate) async fn start() -> (SocketAddr, DropGuard) {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/dns/c4.yaml");
    let options = ZoneOptions {
        reverse_zones: REVERSE.map(Arc::from).to_vec(),
        fallthrough: false,
        ..ZoneOptions::default()
    };
    serve(fixture, options, Some(outside().await)).await
}

/// A server of the manifest `fixture`, which has its names outside from `forward`; it stops when the guard
/// is dropped.
pub(crate) async fn serve(
    fixture: &str,
    options: ZoneOptions,
    forward: Option<SocketAddr>,
) -> (SocketAddr, DropGuard) {
    let mut directory = Directory::new(vec![fixture.into()], String::new());
    directory.scan(Instant::now());
    assert!(directory.findings().is_empty(), "{:?}", directory.findings());
    let sockets = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = sockets.udp.local_addr().unwrap();
    let service = ZoneService {
        sockets,
        domain: "cluster.local".into(),
        options,
        forward: forward.map(|server| Arc::new(Resolver::to(&[server]).unwrap())),
        stats: Arc::default(),
        settings: Settings::default(),
    };
    let (send, receive) = watch::channel(Arc::new(Objects::default()));
    let cancel = CancellationToken::new();
    tokio::spawn(serve_zone(service, receive, cancel.clone()));
    send.send_replace(Arc::new(directory.objects()));
    // The channel stays open as long as the server runs.
    let running = cancel.clone();
    tokio::spawn(async move {
        running.cancelled().await;
        drop(send);
    });
    // Before the first zone everything is SERVFAIL.
    let synced = async {
        while udp(address, "dns-version.cluster.local.", "TXT").await.code == "SERVFAIL" {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, synced).await.unwrap();
    (address, cancel.drop_guard())
}

/// A question with EDNS.
pub(crate) fn query(name: &str, record_type: &str) -> Vec<u8> {
    let mut message = Message::new(9, MessageType::Query, OpCode::Query);
    let record_type: RecordType = record_type.parse().unwrap();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    let mut edns = hickory_proto::op::Edns::new();
    edns.set_max_payload(1_232);
    message.set_edns(edns);
    message.to_vec().unwrap()
}

/// Reads an answer to a question for `name`: its spelling must come back.
fn said(bytes: &[u8], name: &str) -> Said {
    let message = Message::from_vec(bytes).unwrap();
    assert_eq!(message.queries[0].name().to_ascii(), name);
    let sorted = |records: &[Record]| {
        let mut data: Vec<String> =
            records.iter().map(|record| without_serial(&record.data.to_string())).collect();
        data.sort();
        data
    };
    let soas = message.authorities.iter().filter(|r| r.record_type() == RecordType::SOA);
    Said {
        code: match message.metadata.response_code.low() {
            0 => "NOERROR",
            2 => "SERVFAIL",
            3 => "NXDOMAIN",
            5 => "REFUSED",
            _ => "other",
        }
        .to_owned(),
        answers: sorted(&message.answers),
        additional: sorted(&message.additionals),
        cut: message.metadata.truncation,
        soas: soas.map(|record| record.name.to_ascii()).collect(),
    }
}

pub(crate) async fn udp(server: SocketAddr, name: &str, record_type: &str) -> Said {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&query(name, record_type), server).await.unwrap();
    let mut buffer = [0; 1_232];
    let length = timeout(LIMIT, socket.recv(&mut buffer)).await.unwrap().unwrap();
    said(&buffer[..length], name)
}

pub(crate) async fn tcp(server: SocketAddr, name: &str, record_type: &str) -> Said {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let query = query(name, record_type);
    stream.write_u16(u16::try_from(query.len()).unwrap()).await.unwrap();
    stream.write_all(&query).await.unwrap();
    let read = async {
        let mut bytes = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut bytes).await.unwrap();
        bytes
    };
    said(&timeout(LIMIT, read).await.unwrap(), name)
}

/// [DNS-01] [DNS-C] Every row of C.4, by UDP and by TCP; the question comes back as it was spelled.
#[tokio::test]
async fn dns_01_the_truth_table_holds_on_both_transports() {
    let (server, _running) = start().await;
    for Row { name, record_type, wanted } in table() {
        assert_eq!(udp(server, &name, &record_type).await, wanted, "{name} {record_type} by UDP");
        assert_eq!(tcp(server, &name, &record_type).await, wanted, "{name} {record_type} by TCP");
    }
}

/// Resolvers of Go and of musl send A and AAAA from one socket and wait for both.
#[tokio::test]
async fn questions_of_one_socket_are_all_answered() {
    let (server, _running) = start().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server).await.unwrap();
    for name in ["svc-dual-stack.testns.svc.cluster.local.", "ext.interwebs.test."] {
        for (id, record_type) in [(21, "A"), (22, "AAAA")] {
            let mut message = Message::from_vec(&query(name, record_type)).unwrap();
            message.metadata.id = id;
            socket.send(&message.to_vec().unwrap()).await.unwrap();
        }
        let mut answered = Vec::new();
        for _ in 0..2 {
            let mut buffer = [0; 1_232];
            let length = timeout(LIMIT, socket.recv(&mut buffer)).await.unwrap().unwrap();
            let message = Message::from_vec(&buffer[..length]).unwrap();
            assert_eq!(message.answers.len(), 1, "{name} {message}");
            answered.push((message.metadata.id, message.queries[0].query_type()));
        }
        answered.sort_unstable();
        assert_eq!(answered, [(21, RecordType::A), (22, RecordType::AAAA)], "{name}");
    }
}
