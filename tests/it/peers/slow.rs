//! slowhttptest: heads, bodies and readers that take their time, each ended by its own limit while
//! another client is served (S-45, S-47, S-48).
//!
//! The tool stops by itself only when no connection of its own is left, and says so; until then it
//! would go on for half a minute.

use std::{
    net::SocketAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::task::JoinHandle;
use wharf::settings::Timeouts;

use super::{HOST, LONG, output_of, says, wanted};
use crate::harness::{
    manifest::{app, route},
    pod::{Pod, ok},
    router::Edge,
};

/// What the other client gets.
const SERVED: &str = "served";

/// Slow connections.
const SLOW: u64 = 30;

/// A router whose route for the tool's own Host answers with more than any buffer holds.
async fn edge(change: impl FnOnce(&mut Timeouts)) -> (Edge, [Pod; 2]) {
    let pods = [Pod::start(|_| ok(vec![b'x'; 20_000_000])).await, Pod::saying(SERVED).await];
    let mut objects = app(route("slow", "127.0.0.1"), &[pods[0].address]);
    objects.extend(app(route("a", HOST), &[pods[1].address]));
    let edge = Edge::with(&objects, |settings| change(&mut settings.timeouts)).await;
    (edge, pods)
}

/// Runs the tool against `address` until it is done; what it said at the end.
async fn slowhttptest(address: SocketAddr, mode: &[&str]) -> String {
    let (url, count) = (format!("http://{address}/"), SLOW.to_string());
    let mut command = Command::new("slowhttptest");
    command.args(mode).args(["-u", &url, "-c", &count, "-r", &count, "-l", "30", "-p", "5"]);
    let output = output_of(command, LONG).await;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    // Without the colours, and without the reports of the seconds before the last.
    let plain: String = told
        .split('\x1b')
        .map(|part| part.split_once('m').map_or(part, |(_, text)| text))
        .collect();
    plain.rsplit("test status").next().unwrap_or_default().to_owned()
}

/// curl, again and again, until told to stop; how often it was run.
struct Other {
    stop: Arc<AtomicBool>,
    task: JoinHandle<usize>,
}

impl Other {
    fn start(address: SocketAddr) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let (to, url) = (format!("{HOST}:80:{address}"), format!("http://{HOST}/"));
            for runs in 1.. {
                let told = says("curl", &["-sSf", "--connect-to", &to, &url]).await;
                assert_eq!(told, SERVED);
                if stopped.load(SeqCst) {
                    return runs;
                }
            }
            0
        });
        Self { stop, task }
    }

    async fn end(self) -> usize {
        self.stop.store(true, SeqCst);
        self.task.await.expect("every request was served")
    }
}

/// Runs the tool beside the other client. Its connections are all ended by the router, and the tool
/// finds the service up all the time.
async fn beside_another(edge: &Edge, mode: &[&str]) {
    let other = Other::start(edge.http);
    let told = slowhttptest(edge.http, mode).await;
    assert!(other.end().await > 1);
    assert!(told.contains("No open connections left"), "{mode:?}: {told}");
    let available = told.lines().find(|line| line.starts_with("service available:"));
    assert!(available.is_some_and(|line| line.ends_with("YES")), "{mode:?}: {told}");
    edge.is_quiet().await;
}

/// Slowloris, S-45: a byte now and then does not help, the limit is on the whole head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_s_45_slow_heads_end() {
    if !wanted("peers_s_45_slow_heads_end") {
        return;
    }
    // A limit on silence of twice the tool's interval would never fire.
    let (edge, _pods) = edge(|timeouts| timeouts.head = Duration::from_secs(2)).await;
    beside_another(&edge, &["-H", "-i", "1"]).await;
    edge.has_reasons(&[("client_timeout", SLOW)]).await;
}

/// R.U.D.Y., S-47: a body that pauses for longer than the client's limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_s_47_slow_bodies_end() {
    if !wanted("peers_s_47_slow_bodies_end") {
        return;
    }
    let (edge, pods) = edge(|timeouts| timeouts.client = Duration::from_secs(1)).await;
    beside_another(&edge, &["-B", "-i", "5"]).await;
    edge.has_reasons(&[("client_timeout", SLOW)]).await;
    assert_eq!(pods[0].open(), 0, "no pod connection is left to a client that is gone");
}

/// S-48: a reader that takes nothing for longer than the client's limit. When it reads again, after
/// three times the limit, it gets what its own kernel holds, and then the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_s_48_slow_readers_end() {
    if !wanted("peers_s_48_slow_readers_end") {
        return;
    }
    let (edge, pods) = edge(|timeouts| timeouts.client = Duration::from_secs(1)).await;
    beside_another(&edge, &["-X", "-w", "512", "-y", "1024", "-n", "3", "-z", "4000000"]).await;
    edge.has_reasons(&[("client_timeout", SLOW)]).await;
    assert_eq!(pods[0].open(), 0, "no pod connection is left to a client that is gone");
}
