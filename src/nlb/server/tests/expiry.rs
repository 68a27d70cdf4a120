//! Flows that are silent for too long (A.4).

use socket2::{SockRef, TcpKeepalive};
use tokio::sync::mpsc;

use super::*;

/// A listener whose flows expire after `idle`, in front of one target that reports what it reads.
struct Bench {
    handle: NlbHandle,
    address: SocketAddr,
    /// Flows at the target, as they come.
    flows: mpsc::UnboundedReceiver<TcpStream>,
    _serving: JoinSet<()>,
    _target: Target,
}

impl Bench {
    async fn start(idle: Duration, max_expired_flows: usize) -> Self {
        let (sender, flows) = mpsc::unbounded_channel();
        let (at, serving) = serve(move |stream| {
            sender.send(stream).unwrap();
            std::future::ready(())
        })
        .await;
        // Its checks are those of a usual target.
        let target = Target { address: at, ..Target::start(0).await };
        let mut config = config([&target]);
        config.listeners[0].idle_timeout = idle;
        config.listeners[0].max_expired_flows = max_expired_flows;
        let (handle, address) = start(config).await;
        until(&handle, all(State::Healthy)).await;
        Self { handle, address, flows, _serving: serving, _target: target }
    }

    /// Both ends of a new flow.
    async fn open(&mut self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.address).await.unwrap();
        (client, self.flows.recv().await.unwrap())
    }

    fn expired(&self) -> (usize, u64) {
        let totals = &self.handle.listeners()[0];
        (totals.expired_flow_count, totals.expired_flow_evictions)
    }

    async fn until_expired(&self, count: usize, evicted: u64) {
        let wait = async {
            while self.expired() != (count, evicted) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("{:?}", self.expired()));
    }
}

fn is_silent(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// [NLB-04]: silence at first; whoever sends then is reset, and the other one is not told.
#[tokio::test]
async fn nlb_04_an_idle_flow_is_forgotten_in_silence_and_its_next_byte_is_reset() {
    let mut bench = Bench::start(Duration::from_millis(100), 10).await;
    let (mut client, mut target) = bench.open().await;
    bench.until_expired(1, 0).await;
    assert!(is_silent(&client) && is_silent(&target));
    assert_eq!(bench.handle.listeners()[0].active_flow_count, 0);
    client.write_all(b"x").await.unwrap();
    assert!(is_reset(&ending(&mut client).await));
    assert!(is_silent(&target), "the target has sent nothing");
    assert_eq!(bench.expired(), (1, 0));
    target.write_all(b"x").await.unwrap();
    assert!(is_reset(&ending(&mut target).await));
    bench.until_expired(0, 0).await;
    assert_eq!(bench.handle.listeners()[0].tcp_elb_reset_count, 2);
}

/// [NLB-04]: an end is something that is sent, too.
#[tokio::test]
async fn nlb_04_an_end_that_comes_late_is_reset() {
    let mut bench = Bench::start(Duration::from_millis(100), 10).await;
    let (mut client, mut target) = bench.open().await;
    bench.until_expired(1, 0).await;
    target.shutdown().await.unwrap();
    assert!(is_reset(&ending(&mut target).await));
    assert!(is_silent(&client));
    client.shutdown().await.unwrap();
    assert!(is_reset(&ending(&mut client).await));
}

/// Expired flows hold descriptors: there is a limit, and the oldest goes first.
#[tokio::test]
async fn expired_flows_have_a_limit() {
    let mut bench = Bench::start(Duration::from_millis(100), 1).await;
    let (mut first, mut first_target) = bench.open().await;
    bench.until_expired(1, 0).await;
    let (second, _second_target) = bench.open().await;
    bench.until_expired(1, 1).await;
    assert!(is_reset(&ending(&mut first).await) && is_reset(&ending(&mut first_target).await));
    assert!(is_silent(&second));
}

/// A flow that nobody knows keeps no drain waiting.
#[tokio::test]
async fn a_drain_does_not_wait_for_expired_flows() {
    let mut bench = Bench::start(Duration::from_millis(100), 10).await;
    let (mut client, _target) = bench.open().await;
    bench.until_expired(1, 0).await;
    assert_eq!(bench.handle.drain(LIMIT).await, Drained::Clean);
    assert!(is_reset(&ending(&mut client).await));
}

/// [NLB-05]: flows without keepalives tell the time.
#[tokio::test]
async fn nlb_05_keepalives_are_traffic() {
    let mut bench = Bench::start(Duration::from_millis(1500), 10).await;
    let (mut client, mut target) = bench.open().await;
    let second = Duration::from_secs(1);
    let often = TcpKeepalive::new().with_time(second).with_interval(second);
    SockRef::from(&client).set_tcp_keepalive(&often).unwrap();
    let mut silent = Vec::new();
    for count in 1..=3 {
        silent.push(bench.open().await);
        bench.until_expired(count, 0).await;
    }
    client.write_all(b"x").await.unwrap();
    assert_eq!(target.read_u8().await.unwrap(), b'x');
    assert_eq!(bench.expired(), (3, 0));
}
