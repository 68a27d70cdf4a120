//! Certificates made to order, and the fields that they become.

use proptest::prelude::*;
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SerialNumber};

use super::*;

/// A certificate that signs itself, with these attributes and this serial number.
fn certificate(attributes: &[(DnType, DnValue)], serial: &[u8]) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in attributes {
        params.distinguished_name.push(kind.clone(), value.clone());
    }
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params.not_before = rcgen::date_time_ymd(2026, 1, 2);
    params.not_after = rcgen::date_time_ymd(2055, 11, 30);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn fields(der: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut headers = HeaderMap::new();
    CertificateFields::of(der).unwrap().write(&mut headers);
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), value.as_bytes().to_vec())
    };
    headers.iter().map(pair).collect()
}

fn value(der: &[u8], name: &str) -> String {
    let found = fields(der).into_iter().find(|(field, _)| field == name).unwrap();
    String::from_utf8_lossy(&found.1).into_owned()
}

/// [MTLS-5]: bare values, upper case hex, slash form.
#[test]
fn mtls_5_the_fields_of_a_certificate() {
    let der = certificate(
        &[
            (DnType::CountryName, "DE".into()),
            (DnType::OrganizationName, "Example / Söhne".into()),
            (DnType::CommonName, "client \"one\"".into()),
            (DnType::CustomDnType(vec![1, 2, 840, 113549, 1, 9, 1]), "a@example.com".into()),
            (DnType::CustomDnType(vec![1, 2, 3, 4]), "x".into()),
        ],
        &[0x0a, 0xbc],
    );
    let name = "/C=DE/O=Example / Söhne/CN=client \"one\"/emailAddress=a@example.com/1.2.3.4=x";
    assert_eq!(value(&der, "x-ssl"), "1");
    assert_eq!(value(&der, "x-ssl-client-verify"), "0");
    assert_eq!(value(&der, "x-ssl-client-serial"), "0ABC");
    assert_eq!(value(&der, "x-ssl-client-version"), "3");
    assert_eq!(value(&der, "x-ssl-client-dn"), name);
    assert_eq!(value(&der, "x-ssl-client-cn"), "client \"one\"");
    assert_eq!(value(&der, "x-ssl-issuer"), name);
    assert_eq!(value(&der, "x-ssl-client-notbefore"), "260102000000Z");
    assert_eq!(value(&der, "x-ssl-client-notafter"), "551130000000Z");
    assert_eq!(value(&der, "x-ssl-client-der"), BASE64.encode(&der));
    assert_eq!(value(&der, "x-ssl-client-sha1").len(), 40);
    assert_eq!(subject(&der).unwrap(), name.as_bytes());
}

/// [MTLS-5]: without a certificate all but the first two are empty, and a client's own go.
#[test]
fn mtls_5_without_a_certificate_the_values_are_empty() {
    let mut headers = HeaderMap::new();
    headers.append("x-ssl-client-dn", HeaderValue::from_static("/CN=root"));
    headers.append("x-ssl-client-dn", HeaderValue::from_static("/CN=admin"));
    CertificateFields::without().write(&mut headers);
    assert_eq!(headers.len(), COUNT);
    for (name, value) in &headers {
        let expected = match name.as_str() {
            "x-ssl" => "1",
            "x-ssl-client-verify" => "0",
            _ => "",
        };
        assert_eq!(value, expected, "{name}");
    }
}

/// S-55: what no field value may hold is escaped as HAProxy escapes it.
#[test]
fn s_55_hostile_names_stay_inside_their_field() {
    let evil = "a\r\nX-Admin: 1\0\u{7f}\tb%";
    let der = certificate(&[(DnType::CommonName, evil.into())], &[1]);
    assert_eq!(value(&der, "x-ssl-client-cn"), "a%0D%0AX-Admin: 1%00%7F\tb%");
    assert_eq!(subject(&der).unwrap(), format!("/CN={evil}").as_bytes());
}

/// S-55: a certificate that does not fit is an error, not a cut value.
#[test]
fn s_55_a_certificate_that_does_not_fit_is_refused() {
    let long = "x".repeat(MAX_BYTES);
    let der = certificate(&[(DnType::CommonName, long.into())], &[1]);
    assert_eq!(CertificateFields::of(&der).unwrap_err(), FieldsError::TooLarge);
    // Escaping makes it three times as long.
    let control = "\u{1}".repeat(2000);
    let der = certificate(&[(DnType::CommonName, control.into())], &[1]);
    assert_eq!(CertificateFields::of(&der).unwrap_err(), FieldsError::TooLarge);
    assert_eq!(CertificateFields::of(b"no").unwrap_err(), FieldsError::Unreadable);
}

#[test]
fn many_attributes_are_all_shown() {
    let oid = |last: u64| DnType::CustomDnType(vec![2, 5, 4, 11, last]);
    let attributes: Vec<_> = (1..60).map(|last| (oid(last), "u".into())).collect();
    let der = certificate(&attributes, &[1]);
    assert_eq!(value(&der, "x-ssl-client-dn").matches("/2.5.4.11.").count(), 59);
    assert_eq!(value(&der, "x-ssl-client-cn"), "");
}

/// OpenSSL keeps the magnitude of an integer.
#[test]
fn serial_numbers_have_neither_sign_nor_padding() {
    let rows: [(&[u8], &[u8]); 6] = [
        (&[0], &[0]),
        (&[0, 0x80], &[0x80]),
        (&[0x7f, 0], &[0x7f, 0]),
        (&[0xff], &[1]),
        (&[0x80, 0], &[0x80, 0]),
        (&[], &[]),
    ];
    for (integer, expected) in rows {
        assert_eq!(magnitude(integer), expected, "{integer:?}");
    }
}

proptest! {
    /// S-55: whatever bytes a name has, the value is legal and tells the same bytes.
    #[test]
    fn s_55_every_value_is_legal(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let value = safe(&bytes);
        prop_assert!(value.as_bytes().iter().all(|byte| *byte == 9 || (*byte >= 32 && *byte != 127)));
        let legal = bytes.iter().all(|byte| *byte == 9 || (*byte >= 32 && *byte != 127));
        prop_assert_eq!(legal, value.as_bytes() == bytes);
    }
}
