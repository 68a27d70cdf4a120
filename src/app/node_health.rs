//! What a health check of a node asks: the answers of kube-proxy at a Service's healthCheckNodePort
//! (spec/l4-dns.md A.14).
//!
//! Started by `router`, which is the only endpoint of its node and answers for itself, and by `proxy`
//! for each Service that has the port. Always holds: 503 without an endpoint here, and while the node
//! does not carry traffic; a PROXY header is no request (kube-proxy does not know it either).

use std::{net::SocketAddr, sync::Arc};

use http::{HeaderValue, StatusCode, header};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::pages::{self, Page};
use crate::{app::bind, model::objects::ObjectKey};

/// What is known when a checker asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeHealth {
    /// Ready endpoints of the Service on this node.
    pub(super) endpoints: usize,
    /// The node carries traffic of Services as it should.
    pub(super) healthy: bool,
}

/// Binds `address` and starts to answer for `service` with what `health` says.
pub(super) fn spawn(
    tasks: &mut JoinSet<()>,
    address: SocketAddr,
    service: &ObjectKey,
    health: Arc<dyn Fn() -> NodeHealth + Send + Sync>,
    cancel: &CancellationToken,
) -> anyhow::Result<SocketAddr> {
    let listener = bind::tokio_tcp(address)?;
    let bound = listener.local_addr()?;
    let (service, cancel) = (service.clone(), cancel.clone());
    tasks.spawn(async move {
        let answer = move |_request| std::future::ready(answer(&service, health()));
        cancel.run_until_cancelled(pages::serve(listener, answer)).await;
    });
    Ok(bound)
}

/// The answer to every request, whatever its path: as kube-proxy's, to the byte.
fn answer(service: &ObjectKey, health: NodeHealth) -> Page {
    let NodeHealth { endpoints, healthy } = health;
    let is_good = endpoints > 0 && healthy;
    let status = if is_good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let [namespace, name] =
        [&service.namespace, &service.name].map(|text| serde_json::Value::from(&**text));
    let body = format!(
        "{{\n\t\"service\": {{\n\t\t\"namespace\": {namespace},\n\t\t\"name\": {name}\n\t}},\
         \n\t\"localEndpoints\": {endpoints},\n\t\"serviceProxyHealthy\": {healthy}\n}}"
    );
    let mut page = pages::page(status, "application/json", body);
    let headers = page.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert("x-load-balancing-endpoint-weight", HeaderValue::from(endpoints));
    page
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;
    use crate::{admin::readiness::Readiness, net::proxy_protocol};

    struct Served {
        address: SocketAddr,
        ready: Arc<Readiness>,
        _tasks: JoinSet<()>,
    }

    fn served() -> Served {
        let ready = Arc::new(Readiness::default());
        let mut tasks = JoinSet::new();
        let service = ObjectKey::new("openshift-ingress", "router-default");
        let any = ([127, 0, 0, 1], 0).into();
        let asked = Arc::clone(&ready);
        let health: Arc<dyn Fn() -> NodeHealth + Send + Sync> =
            Arc::new(move || NodeHealth { endpoints: asked.is_ready().into(), healthy: true });
        let address = spawn(&mut tasks, any, &service, health, &CancellationToken::new()).unwrap();
        Served { address, ready, _tasks: tasks }
    }

    async fn ask(address: SocketAddr, before: &[u8], path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(&[before, request.as_bytes()].concat()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_ascii_lowercase(), body.to_owned())
    }

    /// [NLB-24] The answer of kube-proxy: 200 while there is a ready endpoint on the node, 503 before,
    /// and from the start of draining on.
    #[tokio::test]
    async fn nlb_24_a_node_answers_for_its_router() {
        let Served { address, ready, _tasks } = served();
        let (head, _) = ask(address, b"", "/healthz").await;
        assert!(head.starts_with("http/1.1 503 "), "{head}");
        ready.set_listening();
        ready.set_synced();
        for path in ["/", "/healthz"] {
            let (head, body) = ask(address, b"", path).await;
            assert!(head.starts_with("http/1.1 200 "), "{head}");
            for line in [
                "content-type: application/json",
                "x-content-type-options: nosniff",
                "x-load-balancing-endpoint-weight: 1",
            ] {
                assert!(head.lines().any(|got| got == line), "{line} is missing in\n{head}");
            }
            let expected = "{\n\t\"service\": {\n\t\t\"namespace\": \"openshift-ingress\",\n\t\t\
                            \"name\": \"router-default\"\n\t},\n\t\"localEndpoints\": 1,\n\t\
                            \"serviceProxyHealthy\": true\n}";
            assert_eq!(body, expected);
        }
        ready.set_draining();
        let (head, body) = ask(address, b"", "/healthz").await;
        assert!(head.starts_with("http/1.1 503 "), "{head}");
        assert!(head.contains("\nx-load-balancing-endpoint-weight: 0"), "{head}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["localEndpoints"], 0);
        assert_eq!(body["serviceProxyHealthy"], true);
    }

    /// [NLB-24] A PROXY header in front of the request is a bad request, of either version.
    #[tokio::test]
    async fn nlb_24_a_proxy_header_is_no_request() {
        let Served { address, ready, _tasks } = served();
        ready.set_listening();
        ready.set_synced();
        let mut second = Vec::new();
        let (from, to) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap());
        proxy_protocol::write_v2(&mut second, from, to);
        for header in [&b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"[..], &second] {
            let (head, _) = ask(address, header, "/healthz").await;
            assert!(head.starts_with("http/1.1 400 "), "{head}");
        }
    }
}
