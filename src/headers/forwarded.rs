//! Forwarding headers [FWD-1 to FWD-6].

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{Entry, FORWARDED},
};

use super::names::{
    X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO,
    X_FORWARDED_PROTO_VERSION,
};

/// Policy for the forwarding headers [FWD-1].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedPolicy {
    /// Adds a line behind the existing ones.
    Append,
    /// Adds a line when there is none.
    IfNone,
    /// Touches nothing.
    Never,
    /// Replaces what is there.
    Replace,
}

impl ForwardedPolicy {
    /// Reads the word of the annotation and of `ROUTER_SET_FORWARDED_HEADERS`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "append" => Some(Self::Append),
            "if-none" => Some(Self::IfNone),
            "never" => Some(Self::Never),
            "replace" => Some(Self::Replace),
            _ => None,
        }
    }

    /// Applies the policy to one field.
    fn put(self, headers: &mut HeaderMap, name: &HeaderName, value: HeaderValue) {
        match self {
            Self::Append => _ = headers.append(name, value),
            Self::IfNone => {
                if let Entry::Vacant(vacant) = headers.entry(name) {
                    vacant.insert(value);
                }
            },
            Self::Never => {},
            Self::Replace => _ = headers.insert(name, value),
        }
    }
}

/// What is told about a request's first hop.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// Address of the client, from the PROXY header if there was one [FWD-4].
    pub client: IpAddr,
    /// The request's host as it is forwarded.
    pub host: &'a HeaderValue,
    /// Port that the client connected to [FWD-5].
    pub port: u16,
    /// True on the TLS port.
    pub tls: bool,
    /// True when ALPN chose h2.
    pub h2: bool,
}

/// The values that are the same for all requests of a connection, or as long as the host is.
#[derive(Debug, Default)]
pub struct Said {
    client: Option<HeaderValue>,
    port: Option<HeaderValue>,
    /// `Forwarded`, and the host in it.
    forwarded: Option<(HeaderValue, HeaderValue)>,
}

impl Said {
    fn client(&mut self, about: &Forwarding<'_>) -> HeaderValue {
        let make = || {
            let address = Address::new(about.client.to_canonical());
            // Digits, dots and colons are a value.
            HeaderValue::from_bytes(address.as_bytes())
                .unwrap_or_else(|_invalid| HeaderValue::from_static(""))
        };
        self.client.get_or_insert_with(make).clone()
    }

    fn port(&mut self, about: &Forwarding<'_>) -> HeaderValue {
        self.port.get_or_insert_with(|| HeaderValue::from(about.port)).clone()
    }

    fn forwarded(&mut self, about: &Forwarding<'_>, proto: &'static str) -> Option<HeaderValue> {
        match &self.forwarded {
            Some((host, value)) if host == about.host => Some(value.clone()),
            _ => {
                let value = forwarded_value(about, proto.as_bytes())?;
                self.forwarded = Some((about.host.clone(), value.clone()));
                Some(value)
            },
        }
    }
}

/// Writes the forwarding headers but for `X-Forwarded-For`, with what was `said` for earlier requests
/// of the connection. Under [`ForwardedPolicy::Replace`] a client's `X-Forwarded-Proto-Version` never
/// survives (row 18 of the quirk register).
pub fn forward(
    headers: &mut HeaderMap,
    about: &Forwarding<'_>,
    said: &mut Said,
    policy: ForwardedPolicy,
) {
    if policy == ForwardedPolicy::Never {
        return;
    }
    let proto = if about.tls { "https" } else { "http" };
    policy.put(headers, &X_FORWARDED_HOST, about.host.clone());
    policy.put(headers, &X_FORWARDED_PORT, said.port(about));
    policy.put(headers, &X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    if about.h2 {
        policy.put(headers, &X_FORWARDED_PROTO_VERSION, HeaderValue::from_static("h2"));
    } else if policy == ForwardedPolicy::Replace {
        headers.remove(&X_FORWARDED_PROTO_VERSION);
    }
    // The proto is the last value present, which under if-none may be the client's [FWD-3].
    let theirs = match policy {
        ForwardedPolicy::IfNone => headers.get_all(&X_FORWARDED_PROTO).iter().next_back(),
        _ => None,
    };
    let forwarded = match theirs {
        Some(theirs) => forwarded_value(about, theirs.as_bytes()),
        None => said.forwarded(about, proto),
    };
    if let Some(value) = forwarded {
        policy.put(headers, &FORWARDED, value);
    }
}

/// Writes `X-Forwarded-For`, which comes last of all, behind a route's own actions [ORD-2].
pub fn forward_for(
    headers: &mut HeaderMap,
    about: &Forwarding<'_>,
    said: &mut Said,
    policy: ForwardedPolicy,
) {
    if policy != ForwardedPolicy::Never {
        policy.put(headers, &X_FORWARDED_FOR, said.client(about));
    }
}

/// `for=<ip>;host=<host>;proto=<proto>` [FWD-3]. The parts are header values, so the whole is one.
fn forwarded_value(about: &Forwarding<'_>, proto: &[u8]) -> Option<HeaderValue> {
    let client = Address::new(about.client.to_canonical());
    let (open, close) = if client.v6 { ("\"[", "]\"") } else { ("", "") };
    let parts: [&[u8]; 8] = [
        b"for=",
        open.as_bytes(),
        client.as_bytes(),
        close.as_bytes(),
        b";host=",
        about.host.as_bytes(),
        b";proto=",
        proto,
    ];
    HeaderValue::from_maybe_shared(bytes::Bytes::from(parts.concat())).ok()
}

/// An address as text, without a heap allocation.
struct Address {
    text: [u8; 45],
    len: usize,
    v6: bool,
}

impl Address {
    fn new(ip: IpAddr) -> Self {
        let mut this = Self { text: [0; 45], len: 0, v6: ip.is_ipv6() };
        match ip {
            IpAddr::V4(ip) => {
                for (nth, octet) in ip.octets().into_iter().enumerate() {
                    if nth > 0 {
                        this.push(b".");
                    }
                    this.push(itoa::Buffer::new().format(octet).as_bytes());
                }
            },
            IpAddr::V6(ip) => {
                // 45 bytes hold the longest form, so this cannot fail.
                _ = std::fmt::Write::write_fmt(&mut this, format_args!("{ip}"));
            },
        }
        this
    }

    fn push(&mut self, part: &[u8]) {
        let end = self.len + part.len();
        if let Some(room) = self.text.get_mut(self.len..end) {
            room.copy_from_slice(part);
            self.len = end;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }
}

impl std::fmt::Write for Address {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        self.push(part.as_bytes());
        Ok(())
    }
}
