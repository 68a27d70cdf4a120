//! Which addresses may be endpoints [EPF-1..4], from objects to servers: every spelling, in slices and
//! in Endpoints, ready or on their way out.

use super::*;

/// Route `r` to service `web`, and the service; `more` is more of the service, in flow style.
fn base(more: &str) -> String {
    format!(
        "{}---\napiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: app{more}\n",
        route("r", ", to: {name: web}")
    )
}

const PLAIN: &str = "}\nspec: {ports: [{name: http, port: 80}]}";

/// A slice of one address; `conditions` in flow style.
fn slice(name: &str, address: &str, conditions: &str) -> String {
    let family = if address.contains(':') { "IPv6" } else { "IPv4" };
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: {family}\n\
         metadata: {{name: {name}, namespace: app, labels: {{kubernetes.io/service-name: web}}}}\n\
         ports: [{{name: http, port: 8080}}]\n\
         endpoints: [{{addresses: ['{address}'], conditions: {{{conditions}}}}}]\n"
    )
}

/// `v1` Endpoints with these ready and not ready addresses.
fn endpoints(ready: &[&str], not_ready: &[&str]) -> String {
    let list = |addresses: &[&str]| -> String {
        addresses.iter().map(|address| format!("{{ip: '{address}'}}, ")).collect()
    };
    format!(
        "---\napiVersion: v1\nkind: Endpoints\nmetadata: {{name: web, namespace: app}}\n\
         subsets: [{{addresses: [{}], notReadyAddresses: [{}], ports: [{{name: http, port: 8080}}]}}]\n",
        list(ready),
        list(not_ready)
    )
}

fn labels(snapshot: &Snapshot) -> Vec<String> {
    servers(snapshot, "r").into_iter().map(|(label, _)| label).collect()
}

/// How many endpoints were refused.
fn refused(snapshot: &Snapshot) -> usize {
    let refused = |finding: &&Finding| finding.code == codes::ENDPOINT_REFUSED;
    snapshot.findings.iter().filter(refused).count()
}

const RESTRICTED: [&str; 19] = [
    "0.0.0.0",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.0.1",
    "169.254.169.254",
    "224.0.0.1",
    "239.255.255.255",
    "168.63.129.16",
    "::",
    "::1",
    "fe80::1",
    "febf::1",
    "ff02::1",
    "fd00:ec2::254",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:168.63.129.16",
    "::127.0.0.1",
    "::224.0.0.1",
];

/// [EPF-1, EPF-2]: each restricted address is dropped with a finding, and its neighbour is kept.
#[test]
fn epf_2_every_spelling_is_dropped_and_its_neighbour_kept() {
    for address in RESTRICTED {
        for text in [
            slice("one", address, "") + &slice("two", "10.0.0.1", ""),
            endpoints(&[address, "10.0.0.1"], &[]),
        ] {
            let snapshot = compile(&mut compiler(), &(base(PLAIN) + &text));
            assert_eq!(labels(&snapshot), ["10.0.0.1:8080"], "{address}");
            assert_eq!(refused(&snapshot), 1, "{address}");
        }
    }
    for address in ["10.0.0.9", "168.63.129.17", "1.1.1.1", "223.255.255.255", "fd00:ec2::253"] {
        let text = base(PLAIN) + &slice("one", address, "");
        let snapshot = compile(&mut compiler(), &text);
        assert_eq!((labels(&snapshot).len(), refused(&snapshot)), (1, 0), "{address}");
    }
}

/// [EPF-1]: those that end and stand in for ready ones are looked at as well, and what is no address is
/// none.
#[test]
fn epf_1_addresses_are_looked_at_one_by_one() {
    let ending = "ready: false, serving: true, terminating: true";
    for (text, want, count) in [
        (
            slice("a", "127.0.0.1", ending) + &slice("b", "10.0.0.2", ending),
            &["10.0.0.2:8080"][..],
            1,
        ),
        (slice("a", "127.0.0.1", ending), &[], 1),
        (endpoints(&["10.0.0.1"], &["127.0.0.1", "10.0.0.2"]), &["10.0.0.1:8080"], 0),
        (endpoints(&["localhost", "10.0.0.1"], &[]), &["10.0.0.1:8080"], 0),
        (endpoints(&["10.0.0.1/32", "10.0.0.3"], &[]), &["10.0.0.3:8080"], 0),
    ] {
        let snapshot = compile(&mut compiler(), &(base(PLAIN) + &text));
        assert_eq!(labels(&snapshot), want, "{text}");
        assert_eq!(refused(&snapshot), count, "{text}");
    }
}

/// [EPF-4]: the switch of a test bed lets loopback in, in every spelling, and nothing else.
#[test]
fn epf_4_the_switch_is_for_loopback_alone() {
    let loopback = ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::127.0.0.1"];
    for address in RESTRICTED {
        let mut lenient = compiler_with(|settings| settings.allow_loopback_endpoints = true);
        let snapshot = compile(&mut lenient, &(base(PLAIN) + &slice("one", address, "")));
        assert_eq!(labels(&snapshot).len() == 1, loopback.contains(&address), "{address}");
    }
}

/// [EPF-3]: the address of an idled Service is taken as it is, whatever it is.
#[test]
fn epf_3_the_address_of_an_idled_service_is_not_filtered() {
    for address in ["127.0.0.9", "169.254.1.1", "168.63.129.16", "172.30.0.1"] {
        let idled = format!(
            ", annotations: {{idling.alpha.openshift.io/idled-at: '2026-01-01'}}}}\n\
             spec: {{clusterIP: {address}, ports: [{{name: http, port: 80}}]}}"
        );
        let snapshot = compile(&mut compiler(), &base(&idled));
        assert_eq!(labels(&snapshot), [format!("{address}:80")]);
        let snapshot = compile(&mut compiler(), &(base(&idled) + &slice("one", "127.0.0.1", "")));
        assert_eq!(refused(&snapshot), 1, "its endpoints are");
    }
}
