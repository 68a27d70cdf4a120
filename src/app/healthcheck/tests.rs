//! Health checks against servers that answer well, badly and not at all.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use hickory_proto::op::OpCode;

use super::*;

const LONG: Duration = Duration::from_secs(10);

fn web(status: &'static str) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/healthz/ready", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 512]).unwrap();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 7\r\n\r\n[-]late");
        stream.write_all(answer.as_bytes()).unwrap();
    });
    (url, server)
}

#[test]
fn two_hundred_is_good_and_all_else_is_not() {
    let (url, server) = web("200 OK");
    http(&url, LONG).unwrap();
    server.join().unwrap();
    let (url, server) = web("503 Service Unavailable");
    let error = http(&url, LONG).unwrap_err();
    assert!(error.to_string().ends_with("answered 503: [-]late"), "{error}");
    server.join().unwrap();
}

/// Answers one query with `code`, behind an answer that belongs to nobody.
fn names(code: ResponseCode) -> (SocketAddr, thread::JoinHandle<Message>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let server = thread::spawn(move || {
        let mut buffer = [0; 512];
        let (size, peer) = socket.recv_from(&mut buffer).unwrap();
        let query = Message::from_vec(&buffer[..size]).unwrap();
        let id = query.metadata.id;
        for (id, code) in [(id.wrapping_add(1), ResponseCode::ServFail), (id, code)] {
            let answer = Message::error_msg(id, OpCode::Query, code).to_vec().unwrap();
            socket.send_to(&answer, peer).unwrap();
        }
        query
    });
    (address, server)
}

#[test]
fn dns_is_good_when_the_zone_is_there() {
    let (address, server) = names(ResponseCode::NoError);
    dns(address, "cluster.local", LONG).unwrap();
    let query = server.join().unwrap();
    assert_eq!(query.queries[0].query_type(), RecordType::SOA);
    assert_eq!(query.queries[0].name().to_string(), "cluster.local.");
    let (address, server) = names(ResponseCode::Refused);
    assert!(matches!(dns(address, "cluster.local", LONG), Err(HealthError::Dns { .. })));
    server.join().unwrap();
}

#[test]
fn a_silent_dns_server_is_not_good() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = dns(socket.local_addr().unwrap(), "cluster.local", Duration::from_millis(20));
    assert!(matches!(silent, Err(HealthError::Socket { .. })), "{silent:?}");
    let bad = dns(socket.local_addr().unwrap(), "a..b", LONG);
    assert!(matches!(bad, Err(HealthError::Domain { .. })), "{bad:?}");
}
