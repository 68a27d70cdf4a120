//! Bytes to question, answer to bytes: header rules, EDNS, sizes.
//!
//! Called by `dns::server`. Pure. Always holds: a packet never panics, is never answered with more
//! than the client's limit, and one that is not a query is never answered at all.

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    serialize::binary::{BinEncodable, BinEncoder},
};

use super::{answer::Answer, stats::Transport};

/// Most bytes in an answer by UDP, and what this server says it takes.
pub const MAX_UDP: u16 = 1232;

/// Most bytes in an answer by UDP to a client without EDNS.
pub(super) const PLAIN_UDP: u16 = 512;

/// Bytes of a header.
pub(super) const HEADER: usize = 12;

/// A well-formed query.
#[derive(Clone, Debug)]
pub struct Request {
    /// The question, in the client's spelling.
    pub question: Query,
    id: u16,
    recursion_desired: bool,
    checking_disabled: bool,
    edns: bool,
    /// Most bytes that the client takes.
    limit: u16,
}

/// What a packet turned out to be.
#[derive(Debug)]
pub enum Packet {
    /// Not a query, or too short to tell: no answer.
    Ignored,
    /// To be answered with these bytes at once.
    Refused(ResponseCode, Vec<u8>),
    /// To be answered from the zone.
    Query(Box<Request>),
}

/// Reads a packet.
#[must_use]
pub fn read(packet: &[u8], transport: Transport) -> Packet {
    let Some(header) = packet.first_chunk::<HEADER>() else { return Packet::Ignored };
    if header[2] & 0x80 != 0 {
        return Packet::Ignored;
    }
    // The count is checked before the decoder sees it: the decoder reserves room for that many.
    let questions = u16::from_be_bytes([header[4], header[5]]);
    let op_code = OpCode::from_u8((header[2] >> 3) & 0x0f);
    if op_code != OpCode::Query {
        return refusal(header, ResponseCode::NotImp);
    }
    if questions != 1 {
        return refusal(header, ResponseCode::FormErr);
    }
    let Ok(mut message) = Message::from_vec(packet) else {
        return refusal(header, ResponseCode::FormErr);
    };
    let Some(question) = message.queries.pop() else {
        return refusal(header, ResponseCode::FormErr);
    };
    let request = Request {
        question,
        id: message.metadata.id,
        recursion_desired: message.metadata.recursion_desired,
        checking_disabled: message.metadata.checking_disabled,
        edns: message.edns.is_some(),
        limit: limit(message.edns.as_ref(), transport),
    };
    if message.edns.as_ref().is_some_and(|edns| edns.version() != 0) {
        let (bytes, _) = request.encode(&Answer::code(ResponseCode::BADVERS), Recursion::Absent);
        return Packet::Refused(ResponseCode::BADVERS, bytes);
    }
    Packet::Query(Box::new(request))
}

fn limit(edns: Option<&Edns>, transport: Transport) -> u16 {
    match (transport, edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, None) => PLAIN_UDP,
        (Transport::Udp, Some(edns)) => edns.max_payload().clamp(PLAIN_UDP, MAX_UDP),
    }
}

/// A bare header: what is said to a packet whose question is not repeated.
fn refusal(header: &[u8; HEADER], rcode: ResponseCode) -> Packet {
    let mut bytes = vec![0; HEADER];
    bytes[..2].copy_from_slice(&header[..2]);
    bytes[2] = 0x80 | (header[2] & 0x79);
    bytes[3] = rcode.low();
    Packet::Refused(rcode, bytes)
}

/// Whether the server has a resolver for this client: the RA bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recursion {
    /// It has none.
    Absent,
    /// It has one.
    Available,
}

/// Whether an encoded answer is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// All of its answer section is there.
    Whole,
    /// It was too big; the client asks again by TCP.
    Truncated,
}

impl Request {
    /// The bytes of `answer` within the client's limit: first without additional records, then
    /// without any record and with TC set.
    #[must_use]
    pub fn encode(&self, answer: &Answer, recursion: Recursion) -> (Vec<u8>, Size) {
        let mut message = self.message(answer, recursion);
        if let Some(bytes) = self.fitting(&message) {
            return (bytes, Size::Whole);
        }
        message.additionals.clear();
        if let Some(bytes) = self.fitting(&message) {
            return (bytes, Size::Whole);
        }
        message.answers.clear();
        message.authorities.clear();
        message.metadata.truncation = true;
        (self.fitting(&message).unwrap_or_default(), Size::Truncated)
    }

    fn message(&self, answer: &Answer, recursion: Recursion) -> Message {
        let mut message = Message::new(self.id, MessageType::Response, OpCode::Query);
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.checking_disabled = self.checking_disabled;
        message.metadata.recursion_available = recursion == Recursion::Available;
        message.metadata.authoritative = answer.authoritative;
        message.metadata.truncation = answer.truncated;
        message.metadata.response_code = answer.rcode;
        message.add_query(self.question.clone());
        message.answers.clone_from(&answer.answers);
        message.authorities.clone_from(&answer.authorities);
        message.additionals.clone_from(&answer.additionals);
        if self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(MAX_UDP).set_version(0);
            message.set_edns(edns);
        }
        message
    }

    /// The encoding, if it is whole and within the limit.
    fn fitting(&self, message: &Message) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::from(PLAIN_UDP));
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(self.limit);
        message.emit(&mut encoder).ok()?;
        // The encoder stops at the limit by itself and says so in the TC bit.
        let cut = bytes.get(2).is_none_or(|flags| flags & 0x02 != 0);
        let whole = !cut || message.metadata.truncation;
        (whole && bytes.len() <= usize::from(self.limit)).then_some(bytes)
    }
}

#[cfg(test)]
mod tests;
