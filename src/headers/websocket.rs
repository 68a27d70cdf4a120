//! The two values by which the ends of a WebSocket handshake know each other (RFC 6455 1.3, 4).
//!
//! Called by `backend`, which answers handshakes, and by `proxy::upgrade`, which makes one of a stream
//! of HTTP/2.

use aws_lc_rs::digest;
use data_encoding::BASE64;
use http::HeaderValue;

/// What the server puts behind the key (RFC 6455 1.3).
const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The `Sec-WebSocket-Key` made of `nonce`.
#[must_use]
pub fn key(nonce: [u8; 16]) -> HeaderValue {
    value(&nonce)
}

/// The `Sec-WebSocket-Accept` that answers `key`.
#[must_use]
pub fn accept(key: &[u8]) -> HeaderValue {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(ACCEPT_SUFFIX.as_bytes());
    value(context.finish().as_ref())
}

fn value(bytes: &[u8]) -> HeaderValue {
    HeaderValue::try_from(BASE64.encode(bytes)).expect("base64 is visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_value_is_that_of_rfc_6455_1_3() {
        assert_eq!(key(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
