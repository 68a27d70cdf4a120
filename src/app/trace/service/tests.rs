//! Names of Services: what is dialled, and where their path breaks.

use super::*;

fn view(vips: &[&str]) -> ServiceView {
    ServiceView {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        fqdn: "web.shop.svc.cluster.local".to_owned(),
        cluster_ips: vips.iter().map(|vip| (*vip).to_owned()).collect(),
        external_name: None,
        ports: vec!["http:80/TCP".to_owned(), "dns:53/UDP".to_owned()],
        endpoints: 1,
    }
}

fn pod(ready: bool) -> EndpointView {
    EndpointView {
        namespace: "shop".to_owned(),
        service: "web".to_owned(),
        address: "10.1.0.4".to_owned(),
        ports: vec!["http:8080/TCP".to_owned()],
        pod: Some("web-1".to_owned()),
        zone: Some("a".to_owned()),
        ready,
        terminating: false,
        up: None,
    }
}

fn observed(vips: &[&str], address: &str, ready: bool) -> Observed {
    Observed {
        name: "web.shop.svc".to_owned(),
        live: true,
        dns: Some(Resolved {
            server: "127.0.0.1:8053".to_owned(),
            addresses: Ok(vec![address.parse().unwrap()]),
            took: Duration::from_micros(5),
        }),
        service: Ok(Some(view(vips))),
        endpoints: vec![pod(ready)],
        dialled: Vec::new(),
    }
}

#[test]
fn a_cluster_ip_is_dialled_at_the_ports_of_the_service_and_a_pod_at_its_own() {
    let virtual_ = observed(&["172.30.0.1"], "172.30.0.1", true);
    assert_eq!(to_dial(&virtual_), ["172.30.0.1:80".parse().unwrap()]);
    let headless = observed(&[], "10.1.0.4", true);
    assert_eq!(to_dial(&headless), ["10.1.0.4:8080".parse().unwrap()]);
}

#[test]
fn names_lead_to_services() {
    let found = |name| key(name).map(|(namespace, name)| format!("{namespace}/{name}"));
    assert_eq!(found("web.shop.svc.cluster.local").as_deref(), Some("shop/web"));
    assert_eq!(found("pod-1.web.shop.svc").as_deref(), Some("shop/web"));
    assert_eq!(found("shop.svc"), None);
    assert_eq!(found("web.shop"), None);
}

#[test]
fn a_path_breaks_where_nobody_is() {
    let address: SocketAddr = "172.30.0.1:80".parse().unwrap();
    let refused = vec![(address, Err("refused".to_owned()))];
    let seen = |ready| observed(&["172.30.0.1"], "172.30.0.1", ready);
    for (observed, hop, fix) in [
        (Observed { dialled: refused, ..seen(true) }, Name::Pod, "wharf proxy"),
        (seen(false), Name::Service, "selector"),
        (Observed { service: Ok(None), ..seen(true) }, Name::Service, "wharf get services"),
    ] {
        let report = judge(&observed);
        let broken = report.broken.as_ref().unwrap();
        assert_eq!(broken.hop, hop);
        assert!(broken.fix.contains(fix) && !report.ok, "{}", report.text());
    }
    let whole = Observed { dialled: vec![(address, Ok(Duration::from_micros(7)))], ..seen(true) };
    let report = judge(&whole);
    assert!(
        report.ok && report.text().contains("whoever serves the cluster IP"),
        "{}",
        report.text()
    );
    // Without an admin port the rest is shown.
    let blind = Observed { service: Err("no".to_owned()), ..whole };
    assert!(judge(&blind).ok);
}
