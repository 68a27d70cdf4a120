//! Load balancers that follow manifests, over real sockets.

use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    model::objects::Objects,
    source::document::{self, Outcome},
};

/// No step takes as long as this.
const LIMIT: Duration = Duration::from_secs(20);

/// A pod that says its letter.
async fn pod(tasks: &mut JoinSet<()>, letter: u8) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &[letter]).await;
        }
    });
    port
}

fn free_port() -> u16 {
    StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn service(name: &str, port: u16, pod: u16, interval: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: app
  annotations:
    service.beta.kubernetes.io/aws-load-balancer-type: nlb
    service.beta.kubernetes.io/aws-load-balancer-healthcheck-interval: \"{interval}\"
spec: {{ type: LoadBalancer, ports: [{{ port: {port} }}] }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-1
  namespace: app
  labels: {{ kubernetes.io/service-name: {name} }}
addressType: IPv4
ports: [{{ port: {pod} }}]
endpoints: [{{ addresses: [127.0.0.1] }}]
"
    )
}

fn update(text: &str) -> Arc<Update> {
    let content = document::read("svc.yaml", text, "");
    let mut objects = Objects::default();
    for outcome in content.outcomes {
        let Outcome::Valid(object) = outcome else { panic!("{:?}", content.findings) };
        object.add_to(&mut objects);
    }
    Arc::new(Update { objects, findings: content.findings })
}

struct Followed {
    fleet: Fleet,
    updates: watch::Sender<Arc<Update>>,
    tasks: JoinSet<()>,
}

fn followed() -> Followed {
    let (updates, changed) = watch::channel(Arc::new(Update::default()));
    let fleet = Fleet::default();
    let mut tasks = JoinSet::new();
    let followed = fleet.clone();
    tasks.spawn(async move {
        let options = Options { fast_checks: true, ..Options::default() };
        follow(changed, &followed, &Workers::default(), &options, Duration::ZERO).await;
    });
    Followed { fleet, updates, tasks }
}

/// The letter that answers at `port`, once one does and `wanted` likes it.
async fn letter(port: u16, wanted: impl Fn(u8) -> bool) -> u8 {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let answered = async {
        loop {
            if let Ok(mut stream) = TcpStream::connect(address).await
                && let Ok(letter) = stream.read_u8().await
                && wanted(letter)
            {
                return letter;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, answered).await.expect("the port answers")
}

/// Waits until nobody listens at `port`.
async fn closed(port: u16) {
    let closing = async {
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, closing).await.expect("the port is closed");
}

/// Services come, change and go; one that is refused leaves its load balancer as it is.
#[tokio::test]
async fn services_become_load_balancers_and_the_last_good_one_is_kept() {
    let Followed { fleet, updates, mut tasks } = followed();
    let (a, b) = (pod(&mut tasks, b'a').await, pod(&mut tasks, b'b').await);
    let (first, second) = (free_port(), free_port());
    updates.send_replace(update(&service("one", first, a, "1")));
    assert_eq!(letter(first, |_| true).await, b'a');

    // Refused: the targets are still the old ones. The other Service shows that the update is in.
    let bad = service("one", first, b, "soon") + &service("two", second, b, "1");
    updates.send_replace(update(&bad));
    assert_eq!(letter(second, |_| true).await, b'b');
    assert_eq!(letter(first, |_| true).await, b'a');
    assert_eq!(fleet.handles().len(), 2);

    let mended = service("one", first, b, "1") + &service("two", second, b, "1");
    updates.send_replace(update(&mended));
    letter(first, |letter| letter == b'b').await;

    updates.send_replace(update(&service("two", second, b, "1")));
    closed(first).await;
    assert_eq!(fleet.handles().len(), 1);
    assert_eq!(letter(second, |_| true).await, b'b');
}

/// A port that is taken is tried again, without a change of the manifests.
#[tokio::test]
async fn a_port_that_is_taken_is_tried_again() {
    let Followed { fleet, updates, mut tasks } = followed();
    let pod = pod(&mut tasks, b'a').await;
    let taken = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let (port, free) = (taken.local_addr().unwrap().port(), free_port());
    let text = service("one", port, pod, "1") + &service("two", free, pod, "1");
    updates.send_replace(update(&text));
    // Services are applied in the order of their names.
    letter(free, |_| true).await;
    assert_eq!(fleet.handles().len(), 1);
    drop(taken);
    assert_eq!(letter(port, |_| true).await, b'a');
    assert_eq!(fleet.handles().len(), 2);
}
