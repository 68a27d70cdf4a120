//! Class CHAOS: what server this is. `version.bind` and `version.server`, `hostname.bind` and `id.server`
//! (RFC 4892), as CoreDNS's plugin `chaos` answers them.

use hickory_proto::{
    op::{Query, ResponseCode},
    rr::{DNSClass, RData, Record, RecordType, rdata::TXT},
};

use super::Answer;

const VERSION: &str = concat!("wharf ", env!("CARGO_PKG_VERSION"));

/// Bytes in one string of a TXT record.
const MAX_TEXT: usize = 255;

/// Answers TXT for the four names, anything else is refused. `id` names the server; an empty one is
/// not told.
pub(super) fn answer(question: &Query, id: &str) -> Answer {
    let name = question.name().to_lowercase().to_ascii();
    let text = match name.trim_end_matches('.') {
        "version.bind" | "version.server" => VERSION,
        "hostname.bind" | "id.server" => id,
        _ => "",
    };
    if text.is_empty() || question.query_type() != RecordType::TXT {
        return Answer::code(ResponseCode::Refused);
    }
    let text = &text.as_bytes()[..text.len().min(MAX_TEXT)];
    let data = RData::TXT(TXT::from_bytes(vec![text]));
    let mut record = Record::from_rdata(question.name().clone(), 0, data);
    record.dns_class = DNSClass::CH;
    Answer { answers: vec![record], ..Answer::default() }
}
