//! The API of the NLB process over real sockets.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::nlb::config::parse;

const CONFIG: &str = "\
name: test
zones: [a]
listeners: [{ name: front, address: 127.0.0.1:0, targetGroup: web }]
targetGroups:
  - { name: web, port: 1, targets: [{ id: 127.0.0.1, availabilityZone: a, healthCheckPort: 2 }] }
  - { name: spare, port: 1, targets: [{ id: 127.0.0.1 }] }
";

async fn get(address: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let text = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[tokio::test]
async fn the_api_shows_targets_and_metrics() {
    let config = parse(CONFIG).unwrap();
    let handle = NlbHandle::start(config, CancellationToken::new()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let api = tokio::spawn(serve_api(listener, handle, None));

    let (status, body) = get(address, "GET /healthz").await;
    assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", "ok\n"));

    let (_, body) = get(address, "GET /api/v1/targets").await;
    let targets: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        targets[0],
        serde_json::json!({
            "targetGroup": "spare", "id": "127.0.0.1", "port": 1, "healthCheckPort": 1,
            "state": "unused", "reason": "Target.NotInUse", "activeFlows": 0,
        })
    );
    assert_eq!(targets[1]["availabilityZone"], "a");
    assert_eq!(targets[1]["healthCheckPort"], 2);

    let (_, body) = get(address, "GET /metrics").await;
    for line in [
        "nlb_access_log_lost_lines_total{load_balancer=\"net/test/f9e6e6ef197c2b25\"} 0",
        "aws_networkelb_client_tls_negotiation_error_count_total{load_balancer=\"net/test/f9e6e6ef197c2b25\",\
         availability_zone=\"\"} 0",
        "nlb_new_flow_count_total{listener=\"front\",load_balancer=\"net/test/f9e6e6ef197c2b25\"} 0",
        "nlb_active_flow_count{listener=\"front\",load_balancer=\"net/test/f9e6e6ef197c2b25\"} 0",
        "nlb_healthy_host_count{target_group=\"web\",load_balancer=\"net/test/f9e6e6ef197c2b25\"} 0",
        "nlb_unhealthy_host_count{target_group=\"spare\",load_balancer=\"net/test/f9e6e6ef197c2b25\"} 0",
        "aws_networkelb_new_flow_count_total{load_balancer=\"net/test/f9e6e6ef197c2b25\",\
         availability_zone=\"\"} 0",
        "aws_networkelb_healthy_host_count{load_balancer=\"net/test/f9e6e6ef197c2b25\",\
         availability_zone=\"a\",target_group=\"web\"} 0",
        "aws_networkelb_zonal_health_status{load_balancer=\"net/test/f9e6e6ef197c2b25\",\
         availability_zone=\"a\"} 0",
    ] {
        assert!(body.lines().any(|got| got == line), "{line} is missing in\n{body}");
    }

    assert_eq!(get(address, "GET /").await.0, "HTTP/1.1 404 Not Found");
    assert_eq!(get(address, "POST /healthz").await.0, "HTTP/1.1 405 Method Not Allowed");
    api.abort();
}

/// A sticky group knows its target beforehand; another one says what it is chosen from.
#[tokio::test]
async fn the_api_explains_what_a_flow_would_meet() {
    let config = "\
name: test
listeners:
  - { name: sticky, address: 127.0.0.1:0, targetGroup: sticky }
  - { name: hashed, address: 127.0.0.1:0, targetGroup: hashed }
targetGroups:
  - name: sticky
    port: 1
    attributes: { stickiness.enabled: \"true\", stickiness.type: source_ip }
    targets: [{ id: 127.0.0.1 }, { id: 127.0.0.2 }]
  - { name: hashed, port: 1, targets: [{ id: 127.0.0.1 }, { id: 127.0.0.2 }] }
";
    let handle = NlbHandle::start(parse(config).unwrap(), CancellationToken::new()).await.unwrap();
    let places = handle.local_addrs();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve_api(listener, handle.clone(), None));
    let explain = async |query: String| get(api, &format!("GET /api/v1/explain?{query}")).await;
    for (name, at) in &places {
        let query =
            format!("source=127.0.0.9%3a7&destination={}", at.to_string().replace(':', "%3A"));
        let (status, body) = explain(query).await;
        assert_eq!(status, "HTTP/1.1 200 OK");
        let view: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(view["listener"], **name);
        let group = &view["groups"][0];
        // Not judged yet, or without a listener: nobody is healthy.
        assert_eq!(group["routing"], "fail_open", "{body}");
        assert_eq!(group["chosen"].is_string(), &**name == "sticky", "{body}");
        assert_eq!(group["targets"][1]["address"], "127.0.0.2:1");
    }
    let (_, body) = explain("source=127.0.0.9:7&destination=127.0.0.1:1".to_owned()).await;
    assert_eq!(body, "null");
    for bad in ["", "source=127.0.0.9:7", "source=x&destination=127.0.0.1:1"] {
        assert_eq!(explain(bad.to_owned()).await.0, "HTTP/1.1 400 Bad Request", "{bad}");
    }
    serving.abort();
    handle.drain(Duration::ZERO).await;
}

/// A.12: listeners and groups of one name in two load balancers are series of their own.
#[tokio::test]
async fn load_balancers_share_no_series() {
    let fleet = Fleet::default();
    for name in ["test", "other"] {
        let config = parse(&CONFIG.replace("name: test", &format!("name: {name}"))).unwrap();
        let handle = NlbHandle::start(config, CancellationToken::new()).await.unwrap();
        fleet.add(
            crate::app::nlb::fleet::Owner::Service(crate::model::objects::ObjectKey::new(
                "app", name,
            )),
            handle,
        );
    }
    let text = metrics(&fleet).unwrap();
    let mut series: Vec<_> = text.lines().filter_map(|line| line.rsplit_once(' ')).collect();
    series.retain(|(name, _)| !name.starts_with('#'));
    let mut names: Vec<_> = series.iter().map(|(name, _)| *name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "{text}");
    let fronts = names.iter().filter(|name| name.starts_with("nlb_new_flow_count_total{"));
    assert_eq!(fronts.count(), 2, "{text}");
}
