//! What the API server does to an object when it is stored (spec/route.md 1.3, 1.4): a folder of
//! manifests has no API server, so it is done here, before validation.
//!
//! Called by `source::document`. Timestamps and UIDs that are missing stay missing.

use k8s_openapi::{
    ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::model::route::{Route, RouteTarget};

/// Namespace of objects that name none.
pub const DEFAULT_NAMESPACE: &str = "default";
/// Weight of a target that has none [DEF-3].
pub const DEFAULT_WEIGHT: i32 = 100;
/// Says that the host was generated [APISRV-1].
pub const HOST_GENERATED: &str = "openshift.io/host.generated";

/// Label of a Namespace with its name.
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Puts a namespaced object without namespace into [`DEFAULT_NAMESPACE`].
pub fn namespace(metadata: &mut ObjectMeta) {
    if metadata.namespace.as_deref().is_none_or(str::is_empty) {
        metadata.namespace = Some(DEFAULT_NAMESPACE.to_owned());
    }
}

/// Gives a Namespace the label with its own name, as the API server does.
pub fn namespace_name(metadata: &mut ObjectMeta) {
    if let Some(name) = &metadata.name {
        let labels = metadata.labels.get_or_insert_default();
        labels.insert(NAMESPACE_NAME.to_owned(), name.clone());
    }
}

/// [DEF-1..4], [APISRV-1] and [APISRV-4]. Call [`namespace`] first: the generated host holds it.
pub fn route(route: &mut Route, host_suffix: &str) {
    target(&mut route.spec.to);
    route.spec.alternate_backends.iter_mut().for_each(target);
    if route.spec.wildcard_policy.is_empty() {
        "None".clone_into(&mut route.spec.wildcard_policy);
    }
    if let Some(tls) = &mut route.spec.tls {
        match tls.termination.as_str() {
            "" if tls.destination_ca_certificate.is_empty() => {
                "edge".clone_into(&mut tls.termination);
            },
            "Edge" | "Reencrypt" | "Passthrough" => tls.termination.make_ascii_lowercase(),
            _ => {},
        }
        if tls.termination == "reencrypt" && is_comment(&tls.destination_ca_certificate) {
            tls.destination_ca_certificate.clear();
        }
    }
    generate_host(route, host_suffix);
}

/// True for text of nothing but blanks and PEM blocks of the type COMMENT [APISRV-4], which old clients
/// put where no certificate is meant.
fn is_comment(text: &str) -> bool {
    let mut rest = text.trim();
    while let Some(block) = rest.strip_prefix("-----BEGIN COMMENT-----") {
        let Some((_, tail)) = block.split_once("-----END COMMENT-----") else { return false };
        rest = tail.trim_start();
    }
    rest.is_empty()
}

fn target(target: &mut RouteTarget) {
    if target.kind.is_empty() {
        "Service".clone_into(&mut target.kind);
    }
    target.weight.get_or_insert(DEFAULT_WEIGHT);
}

fn generate_host(route: &mut Route, suffix: &str) {
    let spec = &route.spec;
    if !spec.host.is_empty() || !spec.subdomain.is_empty() || spec.wildcard_policy == "Subdomain" {
        return;
    }
    let (Some(name), Some(namespace)) = (&route.metadata.name, &route.metadata.namespace) else {
        return;
    };
    route.spec.host = format!("{}-{namespace}.{suffix}", name.replace('.', "-"));
    route
        .metadata
        .annotations
        .get_or_insert_default()
        .insert(HOST_GENERATED.to_owned(), "true".to_owned());
}

/// Merges `stringData` into `data`, over it, and gives the type its default.
pub fn secret(secret: &mut Secret) {
    if let Some(strings) = secret.string_data.take() {
        let data = secret.data.get_or_insert_default();
        data.extend(strings.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
    }
    if secret.type_.as_deref().is_none_or(str::is_empty) {
        secret.type_ = Some("Opaque".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::route::RouteTls;

    fn named(name: &str) -> Route {
        let metadata = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
        let mut made = Route { metadata, ..Route::default() };
        namespace(&mut made.metadata);
        made
    }

    /// [APISRV-1]
    #[test]
    fn a_host_is_generated_only_when_nothing_says_where_apisrv_1() {
        let mut made = named("a.b");
        route(&mut made, "apps.test");
        assert_eq!(made.spec.host, "a-b-default.apps.test");
        assert_eq!(made.metadata.annotations.expect("set")[HOST_GENERATED], "true");
        let mut wildcard = named("w");
        "Subdomain".clone_into(&mut wildcard.spec.wildcard_policy);
        route(&mut wildcard, "apps.test");
        assert_eq!(wildcard.spec.host, "");
        let mut sub = named("s");
        "x".clone_into(&mut sub.spec.subdomain);
        route(&mut sub, "apps.test");
        assert_eq!(sub.spec.host, "");
    }

    /// [DEF-1, DEF-2]
    #[test]
    fn termination_defaults_def_1_def_2() {
        let cases = [
            ("", "", "edge"),
            ("", "PEM", ""),
            ("Reencrypt", "", "reencrypt"),
            ("EDGE", "", "EDGE"),
        ];
        for (written, ca, want) in cases {
            let mut made = named("t");
            made.spec.tls = Some(RouteTls {
                termination: written.into(),
                destination_ca_certificate: ca.into(),
                ..RouteTls::default()
            });
            route(&mut made, "x");
            assert_eq!(made.spec.tls.expect("kept").termination, want, "{written}");
        }
    }

    /// [DEF-3, DEF-4]
    #[test]
    fn kind_weight_and_policy_default_def_3_def_4() {
        let mut made = named("t");
        made.spec
            .alternate_backends
            .push(RouteTarget { weight: Some(0), ..RouteTarget::default() });
        route(&mut made, "x");
        assert_eq!((made.spec.to.kind.as_str(), made.spec.to.weight), ("Service", Some(100)));
        assert_eq!(made.spec.alternate_backends[0].weight, Some(0));
        assert_eq!(made.spec.wildcard_policy, "None");
        assert_eq!(made.metadata.creation_timestamp, None);
    }

    /// [APISRV-4]: after the termination has its default [DEF-1], and only where it can stand.
    #[test]
    fn apisrv_4_a_destination_ca_of_comments_is_none() {
        let comment = "-----BEGIN COMMENT-----\nThis is empty.\n-----END COMMENT-----\n";
        let cert = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        for (termination, ca, kept) in [
            ("reencrypt", comment.to_owned(), false),
            ("Reencrypt", comment.to_owned(), false),
            ("reencrypt", format!(" \n{comment}\n{comment} "), false),
            ("reencrypt", " \n".to_owned(), false),
            ("reencrypt", format!("{comment}{cert}"), true),
            ("reencrypt", format!("{cert}{comment}"), true),
            ("reencrypt", format!("text {comment}"), true),
            ("reencrypt", "-----BEGIN COMMENT-----\nopen".to_owned(), true),
            ("edge", comment.to_owned(), true),
            ("", comment.to_owned(), true),
        ] {
            let mut made = named("t");
            made.spec.tls = Some(RouteTls {
                termination: termination.into(),
                destination_ca_certificate: ca.clone(),
                ..RouteTls::default()
            });
            route(&mut made, "x");
            let left = made.spec.tls.expect("kept").destination_ca_certificate;
            assert_eq!(left, if kept { ca.as_str() } else { "" }, "{termination} {ca}");
        }
    }

    #[test]
    fn a_namespace_is_labelled_with_its_name() {
        let labels = Some([("a".to_owned(), "b".to_owned())].into());
        let mut metadata = ObjectMeta { name: Some("n".into()), labels, ..ObjectMeta::default() };
        namespace_name(&mut metadata);
        let labels = metadata.labels.expect("set");
        assert_eq!((labels["a"].as_str(), labels[NAMESPACE_NAME].as_str()), ("b", "n"));
    }

    #[test]
    fn string_data_wins_over_data() {
        let mut made = Secret {
            data: Some([("a".to_owned(), ByteString(b"old".to_vec()))].into()),
            string_data: Some([("a".to_owned(), "new".to_owned())].into()),
            ..Secret::default()
        };
        secret(&mut made);
        assert_eq!(made.data.expect("kept")["a"].0, b"new");
        assert_eq!(made.string_data, None);
    }
}
