//! One question to one name server: by UDP, and by TCP when the answer was cut.
//!
//! Called by `pool`. Always holds: an answer counts only from the address that was asked, with the
//! number and the question that were sent; each question has a socket, so a port, of its own.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{DNSClass, Name, RecordType},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
};

use super::stats::ForwardStats;
use crate::net::udp;

/// Most bytes of an answer by UDP, as we tell the server.
const MAX_UDP: u16 = 1_232;

/// Asks `server`. An answer by UDP that was cut comes back as it is when TCP fails. Whoever calls
/// limits the time.
pub(super) async fn ask(
    server: SocketAddr,
    name: &Name,
    record_type: RecordType,
    stats: &ForwardStats,
) -> io::Result<Message> {
    let question = question(name, record_type);
    let packet = question.to_vec().map_err(io::Error::other)?;
    let answer = by_udp(server, &question, &packet).await?;
    if !answer.metadata.truncation {
        return Ok(answer);
    }
    stats.tcp_retries.add_one();
    match by_tcp(server, &question, &packet).await {
        Ok(whole) => Ok(whole),
        Err(error) => {
            tracing::debug!(%server, %name, %error, "a cut answer could not be had by TCP");
            Ok(answer)
        },
    }
}

fn question(name: &Name, record_type: RecordType) -> Message {
    let mut message = Message::new(number(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let mut query = Query::query(name.clone(), record_type);
    query.set_query_class(DNSClass::IN);
    message.add_query(query);
    let mut edns = Edns::new();
    edns.set_max_payload(MAX_UDP).set_version(0);
    message.set_edns(edns);
    message
}

/// A number that nobody outside can tell in advance: SipHash under a key of this process.
fn number() -> u16 {
    static KEY: std::sync::LazyLock<RandomState> = std::sync::LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let [low, high, ..] = KEY.hash_one(COUNT.fetch_add(1, Relaxed)).to_le_bytes();
    u16::from_le_bytes([low, high])
}

async fn by_udp(server: SocketAddr, question: &Message, packet: &[u8]) -> io::Result<Message> {
    let socket = UdpSocket::from_std(udp::connected(server)?)?;
    socket.send(packet).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match Message::from_vec(&buffer[..length]) {
            Ok(answer) if answers(&answer, question) => return Ok(answer),
            // Forged, late or broken: the right one may still come.
            Ok(_) | Err(_) => {},
        }
    }
}

async fn by_tcp(server: SocketAddr, question: &Message, packet: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), packet].concat()).await?;
    let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut bytes).await?;
    let answer = Message::from_vec(&bytes).map_err(io::Error::other)?;
    if answers(&answer, question) {
        return Ok(answer);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is to another question"))
}

fn answers(answer: &Message, question: &Message) -> bool {
    answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == question.metadata.id
        && answer.queries == question.queries
}
