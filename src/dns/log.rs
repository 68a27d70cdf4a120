//! Lines about queries, as CoreDNS's plugin `log` writes them (spec/l4-dns.md C.9).
//!
//! The server notes what it answered with [`QueryLog::note`], which never waits: what the queue has no room for
//! is counted and lost. Whoever holds the other end makes lines of it with [`Noted::line`]. Always holds: a line
//! is one line, whatever stands in the query.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, ResponseCode},
    rr::{DNSClass, Name, RecordType},
};

use super::{
    stats::{Total, Transport},
    wire::{HEADER, PLAIN_UDP},
};

/// Lines that may wait to be written.
const QUEUE: usize = 4_096;

/// Bytes of a query that are kept for its line; a longer one has no line.
const KEPT: usize = 512;

/// Which answers are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    /// The name or the type does not exist.
    pub denial: bool,
    /// Whatever else is not NOERROR.
    pub error: bool,
    /// There is an answer.
    pub success: bool,
}

impl Classes {
    /// All of them.
    pub const ALL: Self = Self { denial: true, error: true, success: true };

    /// True if `answer`, which has a whole header, is to be logged.
    fn have(self, answer: &[u8]) -> bool {
        let (answers, authorities) = (&answer[6..8], &answer[8..10]);
        match ResponseCode::from_low(answer[3] & 0x0f) {
            ResponseCode::NoError if answers == [0, 0] && authorities != [0, 0] => self.denial,
            ResponseCode::NoError => self.success,
            ResponseCode::NXDomain => self.denial,
            _ => self.error,
        }
    }
}

/// What was asked and answered.
#[derive(Debug)]
pub struct Noted {
    client: SocketAddr,
    transport: Transport,
    query: Box<[u8]>,
    head: [u8; HEADER],
    size: usize,
    took: Duration,
}

/// The server's end of the log.
#[derive(Debug)]
pub struct QueryLog {
    classes: Classes,
    queue: SyncSender<Noted>,
    /// Lines for which there was no room.
    pub lost: Total,
}

impl QueryLog {
    /// A log of the answers of these classes, and what is to be written.
    #[must_use]
    pub fn new(classes: Classes) -> (Self, Receiver<Noted>) {
        let (queue, noted) = sync_channel(QUEUE);
        (Self { classes, queue, lost: Total::default() }, noted)
    }

    /// Notes that `query` was answered with `answer` after `took`.
    pub fn note(
        &self,
        client: SocketAddr,
        transport: Transport,
        query: &[u8],
        answer: &[u8],
        took: Duration,
    ) {
        let Some(head) = answer.first_chunk::<HEADER>() else { return };
        if !self.classes.have(head) || query.len() > KEPT {
            return;
        }
        let (head, size, query) = (*head, answer.len(), query.into());
        let noted = Noted { client, transport, query, head, size, took };
        if self.queue.try_send(noted).is_err() {
            self.lost.add_one();
        }
    }
}

impl Noted {
    /// Writes the line to `out`, in CoreDNS's common format; nothing for a query that has no question.
    pub fn line(&self, out: &mut String) {
        let Ok(message) = Message::from_vec(&self.query) else { return };
        let [question] = message.queries.as_slice() else { return };
        let name = spelled(question.name());
        let record_type = question.query_type();
        let (edns, proto) = (message.edns.as_ref(), self.transport.name());
        if edns.is_some_and(|edns| edns.version() != 0) {
            // Refused before anybody was asked: CoreDNS has no line of it either.
            return;
        }
        let dnssec = edns.is_some_and(|edns| edns.flags().dnssec_ok);
        let rcode = rcode(ResponseCode::from_low(self.head[3] & 0x0f));
        // Writing into a String does not fail.
        let _ = writeln!(
            out,
            "[INFO] {} - {} \"{} {} {name} {proto} {} {dnssec} {}\" {rcode} {} {} {}s",
            self.client,
            message.metadata.id,
            type_name(record_type),
            class_name(question.query_class()),
            self.query.len(),
            buffer_size(edns, self.transport),
            flags([self.head[2], self.head[3]]),
            self.size,
            self.took.as_secs_f64(),
        );
    }
}

/// The name of a code.
const fn rcode(low: ResponseCode) -> &'static str {
    match low {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        _ => "other",
    }
}

/// `name` in lower case with a dot at the end, and bytes that are no text as their number (RFC 1035 5.1), which
/// is decimal: the library writes octal.
fn spelled(name: &Name) -> String {
    let mut text = String::new();
    for label in name.iter() {
        for byte in label {
            let _ = match byte {
                b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
                    write!(text, "\\{}", char::from(*byte))
                },
                b'!'..=b'~' => write!(text, "{}", char::from(byte.to_ascii_lowercase())),
                _ => write!(text, "\\{byte:03}"),
            };
        }
        text.push('.');
    }
    if text.is_empty() {
        text.push('.');
    }
    text
}

fn type_name(record_type: RecordType) -> String {
    match record_type {
        RecordType::Unknown(number) => format!("TYPE{number}"),
        known => known.to_string(),
    }
}

fn class_name(class: DNSClass) -> String {
    match class {
        DNSClass::Unknown(number) => format!("CLASS{number}"),
        known => known.to_string(),
    }
}

/// What the client takes, as CoreDNS counts it.
fn buffer_size(edns: Option<&Edns>, transport: Transport) -> u16 {
    match (transport, edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, None) => PLAIN_UDP,
        (Transport::Udp, Some(edns)) => edns.max_payload().max(PLAIN_UDP),
    }
}

/// The flags of an answer.
fn flags([first, second]: [u8; 2]) -> String {
    let all = [
        (first & 0x80, "qr"),
        (first & 0x04, "aa"),
        (first & 0x02, "tc"),
        (first & 0x01, "rd"),
        (second & 0x80, "ra"),
        (second & 0x40, "z"),
        (second & 0x20, "ad"),
        (second & 0x10, "cd"),
    ];
    let set: Vec<&str> = all.iter().filter(|(bit, _)| *bit != 0).map(|(_, name)| *name).collect();
    set.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROS: Duration = Duration::from_micros(37_990);

    fn query(name: &[u8], record_type: u8, end: &[u8]) -> Vec<u8> {
        let additional = u8::from(!end.is_empty());
        let head = [0x71, 0x50, 1, 0, 0, 1, 0, 0, 0, 0, 0, additional];
        [&head, name, &[0, 0, record_type, 0, 1], end].concat()
    }

    fn answer(code: u8, answers: u8, authorities: u8) -> [u8; 68] {
        let mut answer = [0; 68];
        answer[2..10].copy_from_slice(&[0x85, 0x80 | code, 0, 1, 0, answers, 0, authorities]);
        answer
    }

    fn line(client: &str, query: &[u8], answer: &[u8]) -> String {
        let (log, noted) = QueryLog::new(Classes::ALL);
        log.note(client.parse().unwrap(), Transport::Udp, query, answer, MICROS);
        let mut line = String::new();
        noted.recv().unwrap().line(&mut line);
        line
    }

    #[test]
    fn lines_are_those_of_coredns() {
        let asked = query(b"\x07eXample\x03org", 1, &[0, 0, 41, 16, 0, 0, 0, 0x80, 0, 0, 0]);
        assert_eq!(
            line("[::1]:50759", &asked, &answer(0, 1, 0)),
            "[INFO] [::1]:50759 - 29008 \"A IN example.org. udp 40 true 4096\" NOERROR qr,aa,rd,ra 68 \
             0.03799s\n"
        );
        let asked = query(b"\x03a\nb", 200, b"");
        assert_eq!(
            line("192.0.2.1:9", &asked, &answer(5, 0, 0)),
            "[INFO] 192.0.2.1:9 - 29008 \"TYPE200 IN a\\010b. udp 21 false 512\" REFUSED qr,aa,rd,ra 68 \
             0.03799s\n"
        );
    }

    #[test]
    fn classes_choose_and_a_full_queue_loses_what_comes() {
        let [denial, error, success] = [0, 1, 2].map(|index| Classes {
            denial: index == 0,
            error: index == 1,
            success: index == 2,
        });
        for (code, answers, authorities, class) in [
            (0, 1, 0, success),
            (0, 0, 0, success),
            (0, 0, 1, denial),
            (3, 0, 1, denial),
            (2, 0, 0, error),
            (5, 0, 0, error),
        ] {
            for classes in [denial, error, success] {
                assert_eq!(classes.have(&answer(code, answers, authorities)), classes == class);
            }
        }
        let (log, noted) = QueryLog::new(success);
        let (client, asked) = ("192.0.2.1:9".parse().unwrap(), query(b"\x01a", 1, b""));
        for _ in 0..QUEUE + 3 {
            log.note(client, Transport::Tcp, &asked, &answer(0, 1, 0), MICROS);
        }
        log.note(client, Transport::Tcp, &asked, &answer(3, 0, 1), MICROS);
        log.note(client, Transport::Tcp, &asked, &[0; 3], MICROS);
        assert_eq!((noted.try_iter().count(), log.lost.load()), (QUEUE, 3));
    }
}
