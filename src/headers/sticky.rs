//! The stickiness cookie of a backend, ready for use (spec/route.md 15.4).
//!
//! Made by compile, part of the snapshot, read by `proxy::sticky`: a request neither hashes nor
//! formats anything. A value stands for an endpoint by a hash of its identity, so it is the same in
//! every router and after a restart [STICK-9] and does not show the endpoint's address.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::HeaderValue;
use md5::{Digest as _, Md5};

/// The value of a cookie: an MD5 in lower-case hexadecimal digits. It identifies, and protects
/// nothing.
pub type Value = [u8; 32];

/// The MD5 of `text` as [`Value`].
#[must_use]
pub fn hash(text: &str) -> Value {
    let mut value = [0; 32];
    HEXLOWER.encode_mut(&Md5::digest(text.as_bytes()), &mut value);
    value
}

/// The name of the cookie of the route `namespace`/`name` where nobody chose one. The blank in front
/// is OpenShift's [STICK-2].
#[must_use]
pub fn default_name(namespace: &str, name: &str) -> String {
    String::from_utf8_lossy(&hash(&format!(" {namespace}:{name}"))).into_owned()
}

/// The cookie of a backend and what stands for each of its servers.
#[derive(Debug)]
pub struct Stickiness {
    name: Box<str>,
    /// Sorted, each with the index of its server.
    values: Box<[(Value, u32)]>,
    /// `Set-Cookie` by server.
    lines: Box<[HeaderValue]>,
}

impl Stickiness {
    /// The cookie `name`, set with `attributes` (`; path=/...`), of servers with `values`, in their
    /// order. `None` when that is no text for a header field.
    #[must_use]
    pub fn new(name: &str, attributes: &str, values: &[Value]) -> Option<Self> {
        let line = |value: &Value| {
            let text = [name.as_bytes(), b"=", value, attributes.as_bytes()].concat();
            let line = HeaderValue::from_maybe_shared(Bytes::from(text)).ok()?;
            // The first clone makes it shared, which is better done here than with a request.
            drop(line.clone());
            Some(line)
        };
        let lines = values.iter().map(line).collect::<Option<_>>()?;
        let mut values: Box<[_]> = values.iter().copied().zip(0..).collect();
        values.sort_unstable();
        Some(Self { name: name.into(), values, lines })
    }

    /// Name of the cookie.
    #[must_use]
    pub const fn name(&self) -> &str {
        &self.name
    }

    /// The index of the server that `value` stands for.
    #[must_use]
    pub fn server(&self, value: &[u8]) -> Option<usize> {
        let value: &Value = value.try_into().ok()?;
        let at = self.values.binary_search_by(|(known, _)| known.cmp(value)).ok()?;
        usize::try_from(self.values[at].1).ok()
    }

    /// The field that sets the cookie to the server with this index.
    #[must_use]
    pub fn line(&self, server: usize) -> Option<&HeaderValue> {
        self.lines.get(server)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// [STICK-2, STICK-3, EP-2]: names and values of a real cluster.
    #[test]
    fn stick_2_names_and_values_are_those_of_openshift() {
        assert_eq!(
            default_name("openshift-console", "console"),
            "1e2670d92730b515ce3a1bb65da45062"
        );
        let id = "pod:web-server-rc01-dll2p:service-unsecure01:http:10.131.0.27:8080";
        assert_eq!(&hash(id), b"0ea43df433f7c28f54614f5e49bbee26");
    }

    /// [STICK-4]
    #[test]
    fn stick_4_the_field_is_the_cookie_and_its_attributes() {
        let values = [hash("b"), hash("a")];
        let sticky = Stickiness::new("CK", "; path=/; HttpOnly", &values).unwrap();
        let value = String::from_utf8(values[1].to_vec()).unwrap();
        let line = sticky.line(1).unwrap();
        assert_eq!(line, &format!("CK={value}; path=/; HttpOnly"));
        assert_eq!(sticky.line(2), None);
        assert!(Stickiness::new("C\nK", "", &values).is_none());
    }

    proptest! {
        #[test]
        fn every_value_leads_to_its_server(count in 0_usize..40, other in "[0-9a-f]{0,33}") {
            let values: Vec<Value> = (0..count).map(|i| hash(&i.to_string())).collect();
            let sticky = Stickiness::new("CK", "", &values).unwrap();
            for (index, value) in values.iter().enumerate() {
                prop_assert_eq!(sticky.server(value), Some(index));
                prop_assert_eq!(sticky.server(&value.to_ascii_uppercase()), None);
                prop_assert_eq!(sticky.server(&value[..31]), None);
            }
            prop_assert_eq!(sticky.server(other.as_bytes()), None);
        }
    }
}
