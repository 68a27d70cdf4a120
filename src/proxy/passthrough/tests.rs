//! The record of a connection, however it ends [LOG-7].

use std::{
    sync::mpsc::{Receiver, sync_channel},
    time::Duration,
};

use http::HeaderValue;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::Semaphore,
};

use super::*;
use crate::{
    drain::Drain,
    proxy::{
        entry::Open,
        fixture,
        record::{AccessRecord, Frontend},
        stats::RouterStats,
    },
    settings::RouterSettings,
    snapshot::Live,
    upstream::peer::{Peer, PeerKey},
};

/// A worker that runs one connection.
struct Rig {
    worker: Rc<Worker>,
    records: Receiver<Vec<AccessRecord>>,
    pods: TcpListener,
}

impl Rig {
    async fn new() -> Self {
        let mut settings = RouterSettings::default();
        settings.timeouts.connect = Duration::from_millis(5);
        let (log, records) = sync_channel(8);
        let worker = Worker::new(
            0,
            Arc::new(Live::from_pointee(crate::compile::Compiler::empty())),
            Arc::new(settings),
            Arc::new(RouterStats::new(1)),
            Drain::default(),
            Some(log),
            7,
        );
        Self { worker, records, pods: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    /// Begins a connection to a changed route; the client's side of it.
    async fn begin(&self, change: impl FnOnce(&mut CompiledRoute)) -> TcpStream {
        let mut route = Arc::into_inner(fixture::route(None)).unwrap();
        let server = &mut Arc::get_mut(&mut route.backend).unwrap().servers[0];
        let address = self.pods.local_addr().unwrap();
        let key = PeerKey { address, ..server.peer.key.clone() };
        server.peer = Arc::new(Peer::new(key));
        change(&mut route);
        let clients = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(clients.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = clients.accept().await.unwrap();
        let slot = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let about = About {
            client: peer,
            port: 443,
            frontend: Frontend::PublicSsl,
            http2: false,
            health: false,
            secured: None,
            told: None,
            open: Open::new(&self.worker, Frontend::PublicSsl, slot),
        };
        let name = Some(HeaderValue::from_static("a.example.com"));
        let taken = Taken { route: Arc::new(route), name, generation: 9 };
        run(Rc::clone(&self.worker), stream, Bytes::from_static(b"hello"), taken, about).await;
        client
    }

    /// As [`Self::begin`], with the pod's side, which has read what was said.
    async fn pass(&self, change: impl FnOnce(&mut CompiledRoute)) -> (TcpStream, TcpStream) {
        let client = self.begin(change).await;
        let (mut pod, _) = self.pods.accept().await.unwrap();
        let mut said = [0; 5];
        pod.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"hello");
        (client, pod)
    }

    /// The record of the one connection, once it has ended.
    async fn record(&self) -> AccessRecord {
        let ended = async {
            loop {
                self.worker.flush();
                if let Ok(mut batch) = self.records.try_recv() {
                    assert_eq!(batch.len(), 1);
                    return batch.remove(0);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let record = tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
        assert!(record.passthrough);
        assert_eq!(record.frontend, Frontend::PublicSsl);
        assert_eq!(record.host.as_ref().unwrap(), "a.example.com");
        assert_eq!((record.generation, record.status), (9, 0));
        assert_eq!(&*record.route.as_ref().unwrap().key.name, "web");
        assert_eq!(self.worker.busy(), 0);
        record
    }
}

#[tokio::test(flavor = "local")]
async fn an_orderly_end_has_its_bytes_and_no_reason() {
    let rig = Rig::new().await;
    let (mut client, mut pod) = rig.pass(|_| {}).await;
    pod.write_all(b"twelve bytes").await.unwrap();
    pod.shutdown().await.unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"twelve bytes");
    drop(client);
    let record = rig.record().await;
    assert_eq!((record.bytes_in, record.bytes_out), (5, 12));
    assert_eq!((record.termination, record.reason), (*b"--", None));
    assert_eq!((record.server, record.retries), (Some(0), 0));
    assert!(record.times.connect.is_some());
}

/// [LOG-7]: who ended it, and in which phase.
#[tokio::test(flavor = "local")]
async fn log_7_the_letters_say_who_ended_a_relay() {
    let rig = Rig::new().await;
    let (client, _pod) = rig.pass(|_| {}).await;
    client.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(rig.record().await.termination, *b"CD");

    let (_client, pod) = rig.pass(|_| {}).await;
    pod.set_zero_linger().unwrap();
    drop(pod);
    assert_eq!(rig.record().await.termination, *b"SD");

    let short = Duration::from_millis(20);
    let (_client, _pod) = rig.pass(|route| route.policy.tunnel_timeout = short).await;
    assert_eq!(rig.record().await.termination, *b"cD");

    let (_client, _pod) = rig.pass(|_| {}).await;
    rig.worker.drain.kill();
    assert_eq!(rig.record().await.termination, *b"KD");
}

#[tokio::test(flavor = "local")]
async fn what_no_pod_gets_has_one_reason() {
    let rig = Rig::new().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refusing = |route: &mut CompiledRoute| {
        let server = &mut Arc::get_mut(&mut route.backend).unwrap().servers[0];
        let key = PeerKey { address: nobody, ..server.peer.key.clone() };
        server.peer = Arc::new(Peer::new(key));
    };
    let mut client = rig.begin(refusing).await;
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    let record = rig.record().await;
    assert_eq!((record.termination, record.reason), (*b"SC", Some(Reason::ConnectFailed)));
    assert_eq!((record.retries, record.bytes_in), (3, 0));

    let mut client = rig.begin(|route| route.policy.allow = Some(Arc::default())).await;
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    let record = rig.record().await;
    assert_eq!((record.termination, record.reason), (*b"PR", Some(Reason::DeniedAllowlist)));
    assert_eq!(record.server, None);
}
