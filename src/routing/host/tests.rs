//! Host normalisation and DNS names, table by table.

use proptest::prelude::*;

use super::*;

fn norm(host: &str) -> Option<String> {
    let mut scratch = [0; MAX_HOST];
    normalise(host.as_bytes(), &mut scratch).map(str::to_owned)
}

/// [MATCH-4, MATCH-8] and spec/route.md 26.2.
#[test]
fn port_and_one_trailing_dot_are_ignored() {
    for (host, want) in [
        ("example.com", Some("example.com")),
        ("EXAMPLE.com", Some("example.com")),
        ("example.com:1", Some("example.com")),
        ("example.com:65536", Some("example.com")),
        ("example.com.", Some("example.com")),
        ("example.com.:8080", Some("example.com")),
        ("example.com..", Some("example.com.")),
        (".w.test", Some(".w.test")),
        ("example.com:", None),
        ("example.com:http", None),
        ("example.com:80:80", None),
        ("[::1]", None),
        ("[::1]:80", None),
        ("::1", None),
        ("", None),
        (".", None),
        (":80", None),
        ("exämple.com", None),
    ] {
        assert_eq!(norm(host).as_deref(), want, "{host}");
    }
}

#[test]
fn longest_host_fits_and_one_more_byte_does_not() {
    assert_eq!(norm(&"a".repeat(MAX_HOST)), Some("a".repeat(MAX_HOST)));
    assert_eq!(norm(&"a".repeat(MAX_HOST + 1)), None);
}

#[test]
fn parent_domain_starts_after_the_first_dot() {
    assert_eq!(parent_domain("a.b.c"), Some("b.c"));
    assert_eq!(parent_domain(".b.c"), Some("b.c"));
    assert_eq!(parent_domain("localhost"), None);
}

/// [CLAIM-10]
#[test]
fn dns_names_are_told_from_others() {
    let label = "a".repeat(63);
    let name = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    for (host, want) in [
        ("example.com", Ok(())),
        ("localhost", Ok(())),
        ("1.2.3.4", Ok(())),
        ("a--b.c", Ok(())),
        (label.as_str(), Ok(())),
        (name.as_str(), Ok(())),
        ("", Err(HostError::EmptyLabel)),
        ("a..b", Err(HostError::EmptyLabel)),
        ("a.", Err(HostError::EmptyLabel)),
        (&format!("{label}a"), Err(HostError::LongLabel)),
        (&format!("{name}a"), Err(HostError::LongName)),
        ("A.com", Err(HostError::BadByte)),
        ("*.com", Err(HostError::BadByte)),
        ("a_b.com", Err(HostError::BadByte)),
        ("ä.com", Err(HostError::BadByte)),
        ("-a.com", Err(HostError::BadEdge)),
        ("a.b-", Err(HostError::BadEdge)),
    ] {
        assert_eq!(is_dns_name(host), want, "{host}");
    }
}

proptest! {
    #[test]
    fn normalising_never_panics_and_is_lower_case(host in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut scratch = [0; MAX_HOST];
        if let Some(out) = normalise(&host, &mut scratch) {
            prop_assert!(!out.is_empty() && !out.contains(':'));
            prop_assert!(!out.bytes().any(|b| b.is_ascii_uppercase()));
        }
    }

    #[test]
    fn a_dns_name_normalises_to_itself(host in "[a-z0-9]{1,9}(\\.[a-z0-9-]{1,9}){0,4}", port in any::<u16>()) {
        prop_assert_eq!(norm(&format!("{}:{port}", host.to_uppercase())), Some(host.clone()));
        prop_assert_eq!(norm(&format!("{host}.")), Some(host));
    }
}
