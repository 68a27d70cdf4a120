//! Certificates through the whole compile: validation, Secrets and their transitions, the choice.

use serde_json::json;

use super::*;
use crate::{
    model::status::ingress::{ADMITTED, Condition},
    tls::store::CertInfo,
};

const TLS: &str = "kubernetes.io/tls";

fn start() -> String {
    service("a", &["10.0.0.1"])
}

fn at(compiler: &mut Compiler, text: &str, second: u64) -> Snapshot {
    let now = UNIX_EPOCH + std::time::Duration::from_secs(second);
    compiler.compile(&objects(text), &Resolved::new(), Vec::new(), now)
}

/// Reason, and seconds of the last write, of the Admitted condition.
fn condition(snapshot: &Snapshot, name: &str) -> (String, String, String) {
    let status = &state(snapshot, name).status;
    let all: &Vec<Condition> = &status.ingress[0].conditions;
    let found = all.iter().find(|condition| condition.kind == ADMITTED).unwrap();
    let time = json!(found.last_transition_time).as_str().unwrap().to_owned();
    (found.status.clone(), found.reason.clone(), time)
}

fn described(snapshot: &Snapshot, host: &str) -> CertInfo {
    snapshot.certs.describe().into_iter().find(|info| info.host == host).unwrap()
}

/// [XV-1..10]: the message of a refused route is the aggregated one, each problem is a finding of its
/// own at its field, and a second look at the same content says the same.
#[test]
fn problems_are_one_message_and_a_finding_each() {
    let (own, other) = (pair("own"), pair("other"));
    let field = |text: &str| serde_json::to_string(text).unwrap();
    let tls = format!(
        ", to: {{name: a}}, tls: {{termination: edge, certificate: {}, key: {}, caCertificate: {}}}",
        field(&own.cert_pem),
        field(&other.key_pem),
        field(&other.cert_pem)
    );
    let text = [start(), route("r", &tls), route("s", &tls)].concat();
    let mut compiler = compiler();
    for _ in 0..2 {
        let snapshot = compile(&mut compiler, &text);
        for name in ["r", "s"] {
            let (reason, message) = rejection(&snapshot, name);
            assert_eq!(reason, RejectReason::ExtendedValidationFailed);
            assert_eq!(
                message,
                "[spec.tls.certificate: Invalid value: \"redacted certificate data\": error \
                 verifying certificate: x509: certificate signed by unknown authority, spec.tls.key: \
                 Invalid value: \"redacted key data\": the private key does not match the public key \
                 of the first certificate]"
            );
        }
        let [chain, mismatch] = [codes::BAD_CHAIN.number, codes::KEY_MISMATCH.number];
        assert_eq!(codes_of(&snapshot), [chain, mismatch, chain, mismatch]);
        assert_eq!(snapshot.findings[0].field, "spec.tls.certificate");
    }
}

/// EXTENDED_VALIDATION=false: a foreign authority is served, a wrong key is not.
#[test]
fn xv_off_serves_what_can_be_served() {
    let (own, other) = (pair("own"), pair("other"));
    let ca = serde_json::to_string(&other.cert_pem).unwrap();
    let odd =
        edge("odd", &own).replace("certificate:", &format!("caCertificate: {ca}, certificate:"));
    let mixed = Pair { cert_pem: own.cert_pem, key_pem: other.key_pem };
    let text = [start(), odd, edge("mixed", &mixed)].concat();
    let strict = compile(&mut compiler(), &text);
    assert!(strict.routes.iter().all(|state| state.compiled.is_none()));
    let mut compiler = compiler_with(|settings| settings.extended_validation = false);
    let snapshot = compile(&mut compiler, &text);
    assert_eq!(described(&snapshot, "odd.example.com").chain.len(), 1);
    assert_eq!(rejection(&snapshot, "mixed").0, RejectReason::ExtendedValidationFailed);
}

/// [XV-8], decisions 4: what pods are verified by is a security field: no last version stands in.
#[test]
fn a_bad_destination_ca_closes_its_route() {
    let (own, ca) = (pair("own"), pair("ca"));
    let with = |text: &str| {
        let text = serde_json::to_string(text).unwrap();
        let more = format!("destinationCACertificate: {text}, termination: reencrypt");
        [start(), edge("r", &own).replace("termination: edge", &more)].concat()
    };
    let mut compiler = compiler();
    let snapshot = compile(&mut compiler, &with(&ca.cert_pem));
    assert!(state(&snapshot, "r").admission.is_admitted(), "{:?}", snapshot.findings);
    let snapshot = compile(&mut compiler, &with("nonsense"));
    let (reason, message) = rejection(&snapshot, "r");
    assert_eq!(reason, RejectReason::ExtendedValidationFailed);
    assert!(message.starts_with("spec.tls.destinationCACertificate: "), "{message}");
    assert_eq!(codes_of(&snapshot), [codes::BAD_DESTINATION_CA.number]);
}

/// [XV-4]: a text that is cut off is served as far as it goes, with a warning.
#[test]
fn a_cut_chain_is_a_warning() {
    let own = pair("own");
    let cut = own.cert_pem.replace("-----END", "-----ENDE");
    let chain = Pair { cert_pem: format!("{}{cut}", own.cert_pem), key_pem: own.key_pem };
    let snapshot = compile(&mut compiler(), &[start(), edge("r", &chain)].concat());
    assert!(state(&snapshot, "r").admission.is_admitted());
    assert_eq!(codes_of(&snapshot), [codes::PEM_CUT.number]);
}

/// [EXT-4..6, STAT-2, STAT-4] with 26.3: update, deletion and return of a Secret are written as
/// conditions of their own, and every one ends in what holds then; the first appearance admits at
/// once. A later compile without a change writes nothing.
#[test]
fn ext_4_to_6_secrets_come_change_go_and_return() {
    let (one, two) = (pair("one"), pair("two"));
    let start = [start(), external("r", "s")].concat();
    let with = |pair: &Pair| format!("{start}{}", secret("s", TLS, &pair.cert_pem, &pair.key_pem));
    let other = with(&one).replace("tls.crt:", "note: x, tls.crt:");
    let missing = "ExternalCertificateValidationFailed";
    let mut compiler = compiler();
    let rows = [
        (&start, 1, ("False", missing, "01"), "default"),
        (&with(&one), 2, ("True", "", "02"), "Route app/r"),
        (&with(&one), 3, ("True", "", "02"), "Route app/r"),
        (&with(&two), 4, ("True", "", "04"), "Route app/r"),
        (&start, 5, ("False", missing, "05"), "default"),
        (&start, 6, ("False", missing, "05"), "default"),
        (&with(&one), 7, ("True", "", "07"), "Route app/r"),
        (&other, 8, ("True", "", "08"), "Route app/r"),
    ];
    for (text, second, (status, reason, written), source) in rows {
        let snapshot = at(&mut compiler, text, second);
        let (now, why, time) = condition(&snapshot, "r");
        assert_eq!((&*now, &*why), (status, reason), "{second}");
        assert!(time.ends_with(&format!(":{written}Z")), "{second}: {time}");
        assert_eq!(selected(&snapshot, "r.example.com").0, source, "{second}");
    }
}

/// What a compile says a Secret went through.
fn passing(compiler: &mut Compiler, text: &str) -> Option<Admission> {
    let objects = objects(text);
    compiler.certificates.begin(&objects.secrets);
    for route in &objects.routes {
        drop(compiler.certificates.check(route));
    }
    compiler.certificates.transition(&ObjectKey::new("app", "r"))
}

/// [EXT-4..7]: the words of each transition; a reference to another Secret, or to none, is none.
#[test]
fn transitions_name_secret_route_and_versions() {
    let (one, two) = (pair("one"), pair("two"));
    let routes = [start(), external("r", "s")].concat();
    let version = |pair: &Pair, version: u32| {
        let secret = secret("s", TLS, &pair.cert_pem, &pair.key_pem);
        secret.replace("name: s,", &format!("name: s, resourceVersion: '{version}',"))
    };
    let refused =
        |reason, message: &str| Some(Admission::Rejected { reason, message: message.to_owned() });
    let mut compiler = compiler();
    let first = format!("{routes}{}", version(&one, 1));
    compile(&mut compiler, &first);
    let second = format!("{routes}{}", version(&two, 2));
    let message =
        "secret s updated for route app/r, old resourceVersion: 1, new resourceVersion: 2";
    let updated = Admission::AdmittedUpdated { message: message.to_owned() };
    assert_eq!(passing(&mut compiler, &second), Some(updated));
    assert_eq!(passing(&mut compiler, &second), None);
    assert_eq!(
        passing(&mut compiler, &routes),
        refused(RejectReason::ExternalCertificateSecretDeleted, "secret s deleted for route app/r")
    );
    assert_eq!(
        passing(&mut compiler, &first),
        refused(
            RejectReason::ExternalCertificateSecretRecreated,
            "secret s recreated for route app/r"
        )
    );
    // Not admitted meanwhile: the update says so.
    let bad = Pair { cert_pem: "nonsense".to_owned(), key_pem: one.key_pem };
    let mut fresh = self::compiler();
    compile(&mut fresh, &format!("{routes}{}", version(&bad, 1)));
    let refused_before = passing(&mut fresh, &second);
    assert!(
        matches!(
            &refused_before,
            Some(Admission::Rejected {
                reason: RejectReason::ExternalCertificateSecretUpdated,
                ..
            })
        ),
        "{refused_before:?}"
    );
    // [EXT-7]
    let elsewhere =
        first.replace("externalCertificate: {name: s}", "externalCertificate: {name: t}");
    assert_eq!(passing(&mut compiler, &elsewhere), None);
    let without = first.replace(", externalCertificate: {name: s}", "");
    compile(&mut compiler, &first);
    let snapshot = compile(&mut compiler, &without);
    assert_eq!(selected(&snapshot, "r.example.com").0, "default");
    assert_eq!(passing(&mut compiler, &second), None, "watched anew");
}

/// ROUTER_ENABLE_EXTERNAL_CERTIFICATE=false: the field counts for nothing, as in OpenShift.
#[test]
fn ext_off_serves_the_default() {
    let mut compiler = compiler_with(|settings| settings.external_certificates = false);
    let snapshot = compile(&mut compiler, &[start(), external("r", "s")].concat());
    assert!(state(&snapshot, "r").admission.is_admitted());
    assert!(snapshot.findings.is_empty(), "{:?}", snapshot.findings);
    assert_eq!(selected(&snapshot, "r.example.com").0, "default");
}

/// [EXT-3]: caCertificate goes with the Secret's certificate, which is verified by it.
#[test]
fn ext_3_the_rest_of_the_route_goes_with_the_secret() {
    let authority = mint::authority("root").unwrap();
    let leaf = authority.leaf(&["r.example.com".to_owned()]).unwrap();
    let ca = serde_json::to_string(&authority.pair().cert_pem).unwrap();
    let with = |pair: &Pair| {
        let route =
            external("r", "s").replace("externalC", &format!("caCertificate: {ca}, externalC"));
        [start(), route, secret("s", TLS, &pair.cert_pem, &pair.key_pem)].concat()
    };
    let snapshot = compile(&mut compiler(), &with(&leaf));
    assert_eq!(described(&snapshot, "r.example.com").chain[0].subject, "CN=root");
    let snapshot = compile(&mut compiler(), &with(&pair("foreign")));
    assert_eq!(rejection(&snapshot, "r").0, RejectReason::ExtendedValidationFailed);
}

/// [CERT-3]: of two routes the one whose `ns:name` sorts last; `a-b:x` sorts before `a:x`.
#[test]
fn cert_3_names_are_compared_with_their_colon() {
    let (one, two) = (pair("one"), pair("two"));
    let place = |text: String, namespace: &str, path: &str| {
        text.replace("namespace: app", &format!("namespace: {namespace}"))
            .replace("host: x.example.com", &format!("host: x.example.com, path: {path}"))
    };
    let text = [place(edge("x", &one), "a", "/a"), place(edge("x", &two), "a-b", "/b")].concat();
    let mut compiler = compiler_with(|settings| settings.disable_namespace_ownership_check = true);
    let snapshot = compile(&mut compiler, &text);
    assert!(snapshot.routes.iter().all(|state| state.compiled.is_some()));
    assert_eq!(selected(&snapshot, "x.example.com").0, "Route a/x");
}

/// [ALPN-1, ALPN-2] with row 15 of the register: certificates are compared and not texts, neither
/// with the default one nor with each other.
#[test]
fn alpn_2_a_copy_of_the_default_has_no_h2() {
    let default = pair("default.example.com");
    let texts = (default.cert_pem.as_str(), default.key_pem.as_str());
    let settings = Arc::new(RouterSettings { workers: 1, ..RouterSettings::default() });
    let mut compiler =
        Compiler::new(settings, Profile::new(&TlsSettings::default()).unwrap(), texts).unwrap();
    let noted = |pair: &Pair| Pair {
        cert_pem: format!("a note\n{}", pair.cert_pem),
        key_pem: pair.key_pem.clone(),
    };
    let shared = pair("shared");
    let text = [
        start(),
        edge("copy", &noted(&default)),
        edge("one", &shared),
        edge("two", &noted(&shared)),
        edge("own", &pair("own")),
    ]
    .concat();
    let snapshot = compile(&mut compiler, &text);
    for (host, http2) in [("copy", false), ("one", false), ("two", false), ("own", true)] {
        let want = (format!("Route app/{host}"), http2);
        assert_eq!(selected(&snapshot, &format!("{host}.example.com")), want);
    }
    // Another default certificate: the copy of the former is nobody's any more.
    let renewed = pair("renewed");
    assert_eq!(compiler.set_default((&renewed.cert_pem, &renewed.key_pem)), Ok(true));
    assert_eq!(compiler.set_default((&renewed.cert_pem, &renewed.key_pem)), Ok(false));
    assert!(compiler.set_default((&renewed.cert_pem, "")).is_err());
    let snapshot = compile(&mut compiler, &text);
    assert!(selected(&snapshot, "copy.example.com").1);
    assert_eq!(described(&snapshot, "*").subject, "CN=renewed");
}

/// An edit costs what it changes: what is the same object is not judged again, and what has the same
/// content is not parsed again.
#[test]
fn verdicts_and_configurations_are_kept() {
    let text = [start(), edge("r", &pair("own"))].concat();
    let objects = objects(&text);
    let again = self::objects(&text);
    let mut compiler = compiler();
    let mut config = |objects: &Objects| {
        let snapshot = compiler.compile(objects, &Resolved::new(), Vec::new(), UNIX_EPOCH);
        let offer = Offer::named(Some("r.example.com"));
        let served = snapshot.certs.select(&offer).unwrap();
        (Arc::clone(&served.config), Arc::clone(&served.key))
    };
    let first = config(&objects);
    // The last ones are other objects with the same texts, after a compile that had nothing to judge.
    for objects in [&objects, &again, &again, &objects] {
        let next = config(objects);
        assert!(Arc::ptr_eq(&first.0, &next.0));
        assert!(Arc::ptr_eq(&first.1, &next.1), "the key was parsed again");
    }
}
