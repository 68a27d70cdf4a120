//! What pods are told about a client's certificate: the X-SSL fields [MTLS-5].
//!
//! Made once for each connection from a certificate that was verified, by `proxy::secure`; written into
//! every request of it. Always holds: each value is a legal field value whatever the certificate says,
//! and all of them together have at most [`MAX_BYTES`].

use std::fmt::Write as _;

use aws_lc_rs::digest;
use bytes::Bytes;
use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue};
use x509_parser::{certificate::X509Certificate, time::ASN1Time, x509::X509Name};

/// Bytes of all values together: what the router that is imitated keeps free for its own fields (its
/// rewrite reserve).
pub const MAX_BYTES: usize = 8192;

/// In the order of the values. [`super::strip_request_hop_by_hop`] has removed what a client sent.
static NAMES: [HeaderName; 11] = [
    HeaderName::from_static("x-ssl"),
    HeaderName::from_static("x-ssl-client-verify"),
    HeaderName::from_static("x-ssl-client-serial"),
    HeaderName::from_static("x-ssl-client-version"),
    HeaderName::from_static("x-ssl-client-sha1"),
    HeaderName::from_static("x-ssl-client-dn"),
    HeaderName::from_static("x-ssl-client-cn"),
    HeaderName::from_static("x-ssl-issuer"),
    HeaderName::from_static("x-ssl-client-notbefore"),
    HeaderName::from_static("x-ssl-client-notafter"),
    HeaderName::from_static("x-ssl-client-der"),
];

/// Place of X-SSL-Client-DER.
const DER: usize = COUNT - 1;

/// Number of fields that [`CertificateFields::write`] adds.
pub const COUNT: usize = NAMES.len();

/// The eleven values.
#[derive(Clone, Debug)]
pub struct CertificateFields([HeaderValue; COUNT]);

/// Why there are no fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// Not an X.509 certificate to this parser.
    #[error("the client's certificate cannot be read")]
    Unreadable,
    /// More than [`MAX_BYTES`].
    #[error("the client's certificate does not fit into header fields")]
    TooLarge,
}

/// The subject of a certificate in slash form, `/C=DE/CN=a`, as its bytes are [MTLS-3].
#[must_use]
pub fn subject(der: &[u8]) -> Option<Vec<u8>> {
    parse(der).map(|certificate| slashed(certificate.subject()))
}

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    x509_parser::parse_x509_certificate(der).ok().map(|(_, certificate)| certificate)
}

impl CertificateFields {
    /// For a client that presented no certificate: the values are empty.
    #[must_use]
    pub fn without() -> Self {
        let empty = HeaderValue::from_static("");
        let mut values = [const { HeaderValue::from_static("") }; COUNT];
        values.fill(empty);
        values[0] = HeaderValue::from_static("1");
        values[1] = HeaderValue::from_static("0");
        Self(values)
    }

    /// For a client whose certificate, `der`, was verified.
    ///
    /// # Errors
    /// [`FieldsError`].
    pub fn of(der: &[u8]) -> Result<Self, FieldsError> {
        let certificate = parse(der).ok_or(FieldsError::Unreadable)?;
        let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der);
        let validity = certificate.validity();
        let values: [Vec<u8>; COUNT] = [
            b"1".to_vec(),
            // What OpenSSL says of a certificate that is well; a handshake with another one fails.
            b"0".to_vec(),
            hex(&magnitude(certificate.raw_serial())),
            certificate.version().0.saturating_add(1).to_string().into_bytes(),
            hex(sha1.as_ref()),
            slashed(certificate.subject()),
            common_name(certificate.subject()),
            slashed(certificate.issuer()),
            time(validity.not_before),
            time(validity.not_after),
            BASE64.encode(der).into_bytes(),
        ];
        if values.iter().map(Vec::len).sum::<usize>() > MAX_BYTES {
            return Err(FieldsError::TooLarge);
        }
        let values = values.map(|value| safe(&value));
        if values.iter().map(HeaderValue::len).sum::<usize>() > MAX_BYTES {
            return Err(FieldsError::TooLarge);
        }
        Ok(Self(values))
    }

    /// The certificate in base64 as [`Self::write`] writes it, empty without one.
    #[must_use]
    pub const fn base64(&self) -> &HeaderValue {
        &self.0[DER]
    }

    /// Sets the fields in `headers`.
    pub fn write(&self, headers: &mut HeaderMap) {
        for (name, value) in NAMES.iter().zip(&self.0) {
            headers.insert(name, value.clone());
        }
    }
}

/// `value` as [`push_safe`] writes it.
fn safe(value: &[u8]) -> HeaderValue {
    let mut text = Vec::with_capacity(value.len());
    for byte in value {
        push_safe(&mut text, *byte);
    }
    // What is left is visible, space, tab or beyond ASCII.
    HeaderValue::from_maybe_shared(Bytes::from(text))
        .unwrap_or_else(|_invalid| HeaderValue::from_static(""))
}

/// The bytes that no field value may have, control characters, become `%XX`, as HAProxy writes them.
pub(super) fn push_safe(text: &mut Vec<u8>, byte: u8) {
    match byte {
        0..=8 | 10..=31 | 127 => {
            text.push(b'%');
            text.extend(hex(&[byte]));
        },
        _ => text.push(byte),
    }
}

/// Upper case hexadecimal digits.
fn hex(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    bytes.iter().flat_map(digits).collect()
}

/// A DER integer without its sign and leading zeros, as OpenSSL keeps serial numbers.
fn magnitude(integer: &[u8]) -> Vec<u8> {
    let mut bytes = integer.to_vec();
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        // Two's complement.
        let mut carry = true;
        for byte in bytes.iter_mut().rev() {
            let (sum, over) = (!*byte).overflowing_add(u8::from(carry));
            (*byte, carry) = (sum, over);
        }
    }
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros.min(bytes.len().saturating_sub(1)));
    bytes
}

/// `YYMMDDhhmmssZ`; empty for years that two digits do not tell, as in HAProxy.
fn time(time: ASN1Time) -> Vec<u8> {
    let at = time.to_datetime();
    if !(2000..2100).contains(&at.year()) {
        return Vec::new();
    }
    let mut text = String::with_capacity(13);
    let parts = [u8::from(at.month()), at.day(), at.hour(), at.minute(), at.second()];
    // Writing into a string cannot fail.
    _ = write!(text, "{:02}", at.year() - 2000);
    for part in parts {
        _ = write!(text, "{part:02}");
    }
    text.push('Z');
    text.into_bytes()
}

/// `/name=value` for each attribute in its order, the value's bytes as they are. A `/` inside a value is
/// not marked, which is a weakness of the form itself: authorities have to watch what they sign.
fn slashed(name: &X509Name<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    for attribute in name.iter_attributes() {
        let oid = attribute.attr_type().to_id_string();
        line.push(b'/');
        line.extend_from_slice(short_name(&oid).unwrap_or(&oid).as_bytes());
        line.push(b'=');
        line.extend_from_slice(attribute.attr_value().data);
    }
    line
}

/// The first common name.
fn common_name(name: &X509Name<'_>) -> Vec<u8> {
    name.iter_common_name().next().map_or_else(Vec::new, |cn| cn.attr_value().data.to_vec())
}

/// OpenSSL's short name of an attribute.
fn short_name(oid: &str) -> Option<&'static str> {
    let name = match oid {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.13" => "description",
        "2.5.4.15" => "businessCategory",
        "2.5.4.16" => "postalAddress",
        "2.5.4.17" => "postalCode",
        "2.5.4.20" => "telephoneNumber",
        "2.5.4.41" => "name",
        "2.5.4.42" => "GN",
        "2.5.4.43" => "initials",
        "2.5.4.44" => "generationQualifier",
        "2.5.4.45" => "x500UniqueIdentifier",
        "2.5.4.46" => "dnQualifier",
        "2.5.4.65" => "pseudonym",
        "2.5.4.72" => "role",
        "2.5.4.97" => "organizationIdentifier",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.3" => "mail",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        "1.2.840.113549.1.9.2" => "unstructuredName",
        "1.2.840.113549.1.9.8" => "unstructuredAddress",
        "1.3.6.1.4.1.311.60.2.1.1" => "jurisdictionL",
        "1.3.6.1.4.1.311.60.2.1.2" => "jurisdictionST",
        "1.3.6.1.4.1.311.60.2.1.3" => "jurisdictionC",
        _ => return None,
    };
    Some(name)
}

#[cfg(test)]
mod tests;
