//! What is kept, what is given out, and what is closed.

use tokio::{io::DuplexStream, task::LocalSet};

use super::*;
use crate::{
    settings::HeaderCase,
    upstream::{
        h1,
        peer::{PeerKey, Protocol},
    },
};

const IDLE: Duration = Duration::from_secs(4);
const AGE: Duration = Duration::from_secs(60);
const LIMITS: Limits = Limits { idle: IDLE, age: AGE, total: 150 };
const WIRE: Wire = Wire { case: HeaderCase::Lower, max_head: 24_576 };
const MOMENT: Duration = Duration::from_millis(1);

/// A connection and its other end.
async fn connection() -> (Sender, DuplexStream) {
    let (near, far) = tokio::io::duplex(64);
    let sender = h1::start(near, WIRE).await.unwrap();
    tokio::task::yield_now().await;
    (sender, far)
}

fn peer(port: u16) -> Arc<Peer> {
    let address = ([10, 0, 0, 1], port).into();
    Arc::new(Peer::new(PeerKey { address, protocol: Protocol::Http1, tls: None, pod: "".into() }))
}

fn run(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test());
}

#[test]
fn as_many_as_allowed_are_kept_for_a_peer_and_for_all() {
    run(async || {
        let pool = Pool::new(LIMITS, WIRE);
        let now = Instant::now();
        let mut ends = Vec::new();
        let peers = [peer(1), peer(2)];
        let rows = [
            (0, MAX_IDLE_PER_PEER, Put::Kept),
            (0, 1, Put::Full),
            (1, LIMITS.total - MAX_IDLE_PER_PEER, Put::Kept),
            (1, 1, Put::Full),
        ];
        for (index, count, put) in rows {
            for _ in 0..count {
                let (sender, end) = connection().await;
                ends.push(end);
                assert_eq!(pool.put(&peers[index], sender, now), put);
            }
        }
        assert_eq!(pool.idle(), LIMITS.total);
        assert!(pool.take(peers[0].id, now).is_some());
        let (sender, _end) = connection().await;
        assert_eq!(pool.put(&peers[1], sender, now), Put::Kept, "there is room again");
        pool.clear();
        assert_eq!(pool.idle(), 0);
    });
}

#[test]
fn what_is_old_or_closed_is_not_used() {
    run(async || {
        let pool = Pool::new(LIMITS, WIRE);
        let peer = peer(1);
        let now = Instant::now();
        let (old, _old_end) = connection().await;
        let (young, _young_end) = connection().await;
        pool.put(&peer, old, now);
        pool.put(&peer, young, now + IDLE);
        let later = now + IDLE + MOMENT;
        assert!(pool.take(peer.id, later).is_some(), "the youngest goes first");
        assert!(pool.take(peer.id, later).is_none(), "the other one is too old");
        assert_eq!(pool.idle(), 0);
        let (closed, end) = connection().await;
        drop(end);
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert_eq!(pool.put(&peer, closed, later), Put::Closed);
        let (swept, _swept_end) = connection().await;
        pool.put(&peer, swept, now);
        pool.sweep(later);
        assert_eq!(pool.idle(), 0);
    });
}

#[test]
fn a_connection_past_its_age_is_not_kept() {
    run(async || {
        let pool = Pool::new(LIMITS, WIRE);
        let peer = peer(1);
        let (first, _first_end) = connection().await;
        let (second, _second_end) = connection().await;
        let last = first.born() + AGE;
        assert_eq!(pool.put(&peer, first, last), Put::Kept);
        assert_eq!(pool.put(&peer, second, last + AGE), Put::Closed);
        pool.sweep(last + MOMENT);
        assert_eq!(pool.idle(), 0, "what waits is closed at its age, before it has idled too long");
    });
}

/// F-11: once a peer is gone, what waits for it is closed, and nothing is kept for it any more.
#[test]
fn f_11_a_departed_peer_has_no_connections() {
    run(async || {
        let pool = Pool::new(LIMITS, WIRE);
        let (gone, here) = (peer(1), peer(2));
        let now = Instant::now();
        let mut ends = Vec::new();
        for peer in [&gone, &here] {
            let (sender, end) = connection().await;
            ends.push(end);
            assert_eq!(pool.put(peer, sender, now), Put::Kept);
        }
        gone.depart();
        pool.sweep(now);
        assert_eq!(pool.idle(), 1);
        assert!(pool.take(here.id, now).is_some());
        let (sender, _end) = connection().await;
        assert_eq!(pool.put(&gone, sender, now), Put::Closed);
    });
}
