//! The spelling of header names towards peers of HTTP/1 [CASE-1].
//!
//! Made once by each worker of ROUTER_H1_CASE_ADJUST; used by `serve` for responses and by `forward` for
//! requests. hyper writes names in lower case unless a note hangs at the message that says how they were
//! spelled where it was read. The type of that note is hyper's own, so hyper is given a made-up head with
//! the wanted spelling to read, and its note of that one hangs at our messages from then on.

use std::{
    cell::Cell,
    convert::Infallible,
    pin::pin,
    rc::Rc,
    task::{Context, Waker},
};

use http::{Extensions, HeaderMap, Request, Response};
use http_body_util::Empty;
use hyper::{body::Incoming, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;

use crate::{
    gate::MAX_FIELDS,
    settings::{HeaderCase, RouterSettings},
};

/// How often a name may stand in a message. hyper's note has each occurrence, and takes time to copy by its
/// length: most messages have no name twice, and none has more fields than the last.
const TIERS: [usize; 3] = [1, 8, MAX_FIELDS];

/// Most fields that a map of the http crate holds with room to spare.
const MOST: usize = 24_000;

/// Names in their spelling.
#[derive(Debug)]
pub struct Spelling {
    /// For messages in which a name stands up to so many times.
    notes: Vec<(usize, Extensions)>,
}

impl Spelling {
    /// What the settings ask for. Names that are kept as they came are not spelled anew.
    #[must_use]
    pub fn new(settings: &RouterSettings) -> Option<Self> {
        let names = &settings.headers.spelling;
        if names.is_empty() || settings.header_case == HeaderCase::Kept {
            return None;
        }
        let times = TIERS.map(|times| times.min(MOST / names.len()).max(1));
        let notes: Vec<_> = times.into_iter().zip(times.map(|times| learn(names, times))).collect();
        Some(Self { notes })
    }

    /// Hangs the spelling at a message with `fields`.
    pub fn put(&self, fields: &HeaderMap, extensions: &mut Extensions) {
        let most = if fields.len() == fields.keys_len() {
            1
        } else {
            fields.keys().map(|name| fields.get_all(name).iter().count()).max().unwrap_or(1)
        };
        let fit = self.notes.iter().find(|(times, _)| *times >= most).or_else(|| self.notes.last());
        if let Some((_, note)) = fit {
            extensions.extend(note.clone());
        }
    }
}

/// hyper's note of a head in which each of `names` stands so many `times`.
fn learn(names: &[String], times: usize) -> Extensions {
    let head = head(names, times);
    let noted = Rc::new(Cell::new(Extensions::new()));
    let service = service_fn(|mut request: Request<Incoming>| {
        noted.set(std::mem::take(request.extensions_mut()));
        std::future::ready(Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new())))
    });
    let io = TokioIo::new(tokio::io::join(&head[..], tokio::io::sink()));
    let mut connection = pin!(
        hyper::server::conn::http1::Builder::new()
            .auto_date_header(false)
            .header_read_timeout(None)
            .preserve_header_case(true)
            .max_headers(names.len() * times + 1)
            .max_buf_size(head.len() + 8192)
            .serve_connection(io, service)
    );
    // The whole head is there, so one look is enough; what becomes of the connection does not matter.
    let _progress = connection.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let mut note = noted.take();
    note.remove::<OnUpgrade>();
    note
}

/// A request head that is sound whatever the names are.
fn head(names: &[String], times: usize) -> Vec<u8> {
    let is = |name: &str, other: &str| name.eq_ignore_ascii_case(other);
    let mut head = b"GET / HTTP/1.1\r\n".to_vec();
    let mut line = |name: &str, value: &str, times: usize| {
        for _ in 0..times {
            head.extend_from_slice([name, ": ", value, "\r\n"].concat().as_bytes());
        }
    };
    // First, since hyper notes nothing of it behind the coding. No message has one of the two twice.
    for name in names.iter().filter(|name| is(name, "content-length")) {
        line(name, "0", 1);
    }
    for name in names.iter().filter(|name| !is(name, "content-length")) {
        match is(name, "transfer-encoding") {
            true => line(name, "chunked", 1),
            false => line(name, "x", times),
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}
