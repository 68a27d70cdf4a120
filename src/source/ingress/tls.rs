//! The TLS section of the Routes of one host of an Ingress [ING-6..8].

use std::collections::HashMap;

use k8s_openapi::api::{core::v1::Secret, networking::v1::IngressTLS};

use super::Said;
use crate::model::{finding::codes, objects::ObjectKey, route::RouteTls};

/// Asks for TLS, and says where it ends.
const TERMINATION: &str = "route.openshift.io/termination";
/// Names a Secret with the trust anchor for pods.
const DESTINATION_CA: &str = "route.openshift.io/destination-ca-certificate-secret";

const TERMINATIONS: [&str; 3] = ["edge", "reencrypt", "passthrough"];

/// Why a host is not served.
pub(super) struct Unusable {
    /// Where the Ingress refers to the Secret.
    pub(super) field: String,
    pub(super) text: String,
}

type Secrets<'a> = HashMap<&'a ObjectKey, &'a Secret>;

/// The TLS section for a rule's `host`, as it is written; none for plain HTTP.
pub(super) fn section(
    secrets: &Secrets<'_>,
    said: &Said<'_>,
    host: &str,
) -> Result<Option<RouteTls>, Unusable> {
    let pair = pair(secrets, said, host)?;
    let asked = said.annotation(TERMINATION).filter(|word| TERMINATIONS.contains(word));
    let any = entries(said).any(|entry| *entry == IngressTLS::default());
    if asked.is_none() && pair.is_none() && !any {
        return Ok(None);
    }
    let mut tls = RouteTls {
        termination: asked.unwrap_or("edge").to_owned(),
        insecure_edge_termination_policy: "Redirect".to_owned(),
        ..RouteTls::default()
    };
    if tls.termination != "passthrough"
        && let Some((certificate, key)) = pair
    {
        (tls.certificate, tls.key) = (certificate, key);
    }
    if tls.termination == "reencrypt" {
        tls.destination_ca_certificate = destination_ca(secrets, said).unwrap_or_default();
    }
    Ok(Some(tls))
}

/// What is wrong with the annotations; [`section`] does without them.
pub(super) fn annotations(said: &mut Said<'_>) {
    let Some(word) = said.annotation(TERMINATION) else { return };
    if !TERMINATIONS.contains(&word) {
        let text = format!("the termination \"{word}\" is unknown and does not count");
        let field = format!("metadata.annotations[{TERMINATION}]");
        said.add(codes::INGRESS_ANNOTATION, &field, text, "use edge, reencrypt or passthrough");
    }
}

/// Says so when the Secret of [`DESTINATION_CA`] cannot be used; the router's own trust anchors count
/// then [ING-7].
pub(super) fn check_destination_ca(secrets: &Secrets<'_>, said: &mut Said<'_>) {
    let Some(name) = said.annotation(DESTINATION_CA) else { return };
    if said.annotation(TERMINATION) != Some("reencrypt") || destination_ca(secrets, said).is_some()
    {
        return;
    }
    let text =
        format!("there is no Secret \"{name}\" of type kubernetes.io/tls or Opaque with tls.crt");
    let field = format!("metadata.annotations[{DESTINATION_CA}]");
    let fix = "name a Secret of the same namespace that has the CA in tls.crt";
    said.add(codes::INGRESS_ANNOTATION, &field, text, fix);
}

fn destination_ca(secrets: &Secrets<'_>, said: &Said<'_>) -> Option<String> {
    let secret = secrets.get(&said.beside(said.annotation(DESTINATION_CA)?))?;
    let usable = matches!(secret.type_.as_deref(), Some("kubernetes.io/tls" | "Opaque"));
    text(secret, "tls.crt").filter(|_| usable)
}

/// Certificate and key of the first entry that names `host`; none when no entry does.
fn pair(
    secrets: &Secrets<'_>,
    said: &Said<'_>,
    host: &str,
) -> Result<Option<(String, String)>, Unusable> {
    let names = |entry: &&IngressTLS| entry.hosts.iter().flatten().any(|name| name == host);
    let Some((index, entry)) = entries(said).enumerate().find(|(_, entry)| names(entry)) else {
        return Ok(None);
    };
    let name = entry.secret_name.as_deref().unwrap_or_default();
    let key = said.beside(name);
    let secret = secrets.get(&key);
    let problem = match secret {
        _ if name.is_empty() => format!("no Secret is named for host {host}"),
        None => format!("the Secret {key} for host {host} does not exist"),
        Some(secret) => {
            let kind = secret.type_.as_deref().unwrap_or_default();
            match (kind, text(secret, "tls.crt"), text(secret, "tls.key")) {
                ("kubernetes.io/tls", Some(certificate), Some(key)) => {
                    return Ok(Some((certificate, key)));
                },
                ("kubernetes.io/tls", ..) => {
                    format!("the Secret {key} for host {host} lacks tls.crt or tls.key")
                },
                _ => {
                    format!(
                        "the Secret {key} for host {host} is of type {kind}, not kubernetes.io/tls"
                    )
                },
            }
        },
    };
    let field = match name {
        "" => format!("spec.tls[{index}]"),
        _ => format!("spec.tls[{index}].secretName"),
    };
    Err(Unusable { field, text: problem })
}

fn entries<'a>(said: &Said<'a>) -> impl Iterator<Item = &'a IngressTLS> + use<'a> {
    said.ingress.object.spec.iter().flat_map(|spec| spec.tls.iter().flatten())
}

fn text(secret: &Secret, key: &str) -> Option<String> {
    String::from_utf8(secret.data.as_ref()?.get(key)?.0.clone()).ok()
}
