//! The resolver against a name server of our own.

mod shared;
mod upstream;

use arc_swap::ArcSwap;
use serde_json::json;
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    dns::server,
    model::objects::{ObjectKey, Objects, Stored},
    zone::{Resolved, Zone},
};

/// Far beyond what an answer takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn zone() -> Zone {
    let spec = json!({"spec": {"clusterIPs": ["192.0.2.9", "2001:db8::9"]}});
    let service = serde_json::from_value(spec).unwrap();
    let key = ObjectKey::new("app", "web");
    let services = vec![Arc::new(Stored::in_memory(key, service, "test"))];
    let objects = Objects { services, ..Objects::default() };
    Zone::build(&objects, "upstream.test", &Resolved::new(), 1)
}

async fn name_server(cancel: CancellationToken) -> SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    let zone = Arc::new(ArcSwap::from_pointee(zone()));
    tokio::spawn(server::serve(udp, tcp, zone, None, Arc::default(), cancel));
    address
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_no_error() {
    let cancel = CancellationToken::new();
    let _stop = cancel.clone().drop_guard();
    let resolver = Resolver::to(&[name_server(cancel).await]).unwrap();
    let lookup = async |name: &str, record_type| {
        resolver.lookup(&Name::from_ascii(name).unwrap(), record_type).await
    };
    let found = lookup("web.app.svc.upstream.test", RecordType::A).await.unwrap();
    assert_eq!((found.rcode, found.answers.len()), (ResponseCode::NoError, 1));
    let none = lookup("nothing.app.svc.upstream.test", RecordType::A).await.unwrap();
    assert_eq!((none.rcode, none.authorities.len()), (ResponseCode::NXDomain, 1));
    let no_data = lookup("web.app.svc.upstream.test", RecordType::TXT).await.unwrap();
    assert_eq!((no_data.rcode, no_data.answers.len()), (ResponseCode::NoError, 0));
    for asked in 0..2 {
        let refused = lookup("elsewhere.example", RecordType::A).await;
        assert!(matches!(refused, Err(ResolveError::Refused(_))), "{asked}: {refused:?}");
    }
    // The second time the failure was remembered.
    let stats = resolver.stats();
    assert_eq!((stats.denial_hits.load(), stats.misses.load()), (1, 4));
    assert_eq!(resolver.cached(), [1, 3]);
}

#[tokio::test]
async fn wanted_names_are_published_and_unwanted_ones_withdrawn() {
    let cancel = CancellationToken::new();
    let stop = cancel.clone().drop_guard();
    let resolver = Arc::new(Resolver::to(&[name_server(cancel.clone()).await]).unwrap());
    let name: Arc<str> = "web.app.svc.upstream.test".into();
    let (wanted, wanted_names) = watch::channel([Arc::clone(&name)].into());
    let (publish, mut published) = watch::channel(Arc::new(Resolved::new()));
    let task = tokio::spawn(keep_resolved(resolver, wanted_names, publish, cancel));

    tokio::time::timeout(PATIENCE, published.changed()).await.unwrap().unwrap();
    let addresses = vec!["192.0.2.9".parse().unwrap(), "2001:db8::9".parse().unwrap()];
    assert_eq!(**published.borrow_and_update(), [(name, addresses)].into());

    wanted.send_replace(["nothing.app.svc.upstream.test".into()].into());
    tokio::time::timeout(PATIENCE, published.changed()).await.unwrap().unwrap();
    assert!(published.borrow_and_update().is_empty());

    drop(stop);
    tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
}

#[test]
fn a_resolver_needs_a_server() {
    assert!(matches!(Resolver::to(&[]), Err(ResolveError::NoServer)));
}
