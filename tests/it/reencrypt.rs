//! Reencrypt routes: pods that speak TLS, who is trusted, and which connection serves which request
//! (spec/route.md 11.6, ALPN-4, ALPN-5).

mod protocol;
mod stream;
mod trust;

use std::{sync::Arc, time::Duration};

use rustls::ServerConfig;
use serde_json::Value;
use wharf::{settings::RouterSettings, tls::mint::Authority};

use crate::harness::{
    manifest::{app, reencrypt},
    router::Edge,
    tls,
    tlspod::TlsPod,
};

const HOST: &str = "a.example.com";
const BOTH: &[&str] = &["h2", "http/1.1"];
const OLD: &[&str] = &["http/1.1"];

/// The authority of most pods here.
fn authority() -> Authority {
    tls::authority("pods")
}

fn pem(authority: &Authority) -> Option<&str> {
    Some(&authority.pair().cert_pem)
}

/// What a pod of `authority` shows, with a name that nobody asks for.
fn shown(authority: &Authority, alpn: &[&str]) -> Arc<ServerConfig> {
    tls::server(&tls::leaf(authority, "somewhere.test"), alpn)
}

/// Route `a` to `pods`, which lead to `authority`.
fn objects(authority: &Authority, pods: &[&TlsPod]) -> Vec<Value> {
    let addresses: Vec<_> = pods.iter().map(|pod| pod.address).collect();
    app(reencrypt("a", HOST, pem(authority)), &addresses).into_iter().map(allow).collect()
}

/// A route that answers on the plain port as well, where most tests ask.
fn allow(object: Value) -> Value {
    use crate::harness::manifest::With as _;
    if object["kind"] == "Route" {
        object.with("/spec/tls/insecureEdgeTerminationPolicy", "Allow")
    } else {
        object
    }
}

/// One worker, so that every request meets the same pool.
async fn over(objects: &[Value]) -> Edge {
    with(objects, |_| {}).await
}

async fn with(objects: &[Value], change: impl FnOnce(&mut RouterSettings)) -> Edge {
    Edge::with(objects, |settings| {
        settings.workers = 1;
        settings.timeouts.connect = Duration::from_millis(500);
        change(settings);
    })
    .await
}
