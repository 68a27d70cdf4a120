//! When a stream counts as stalled, on tokio's paused clock.

use hyper::rt::Executor as _;
use tokio::{sync::mpsc, task::LocalSet};

use super::*;

const LIMIT: Duration = Duration::from_secs(30);

/// Says that it was dropped.
struct Held(Rc<Cell<bool>>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// One stream that runs until it is told to end; each message wakes it.
struct Case {
    wire: Rc<Wire>,
    streams: Rc<Streams>,
    progress: Rc<Progress>,
    wake: mpsc::UnboundedSender<()>,
    gone: Rc<Cell<bool>>,
}

impl Case {
    fn start() -> Self {
        let wire = Rc::<Wire>::default();
        let streams = Streams::new(Rc::clone(&wire), LIMIT);
        let progress = streams.begin();
        let (wake, mut woken) = mpsc::unbounded_channel();
        let gone = Rc::<Cell<bool>>::default();
        let held = Held(Rc::clone(&gone));
        LocalExecutor(Rc::clone(&streams)).execute(async move {
            let _held = held;
            while woken.recv().await.is_some() {}
        });
        Self { wire, streams, progress, wake, gone }
    }

    /// The response hands out a part, and nobody asks for the next one.
    fn hand_out(&self) {
        self.progress.hand_out();
        self.wake.send(()).unwrap();
    }

    /// Whole seconds until the stream is dropped, at most `max`.
    async fn seconds(&self, max: u64) -> u64 {
        let start = Instant::now();
        while !self.gone.get() && start.elapsed() < Duration::from_secs(max) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        start.elapsed().as_secs()
    }
}

async fn local<F: Future>(future: F) -> F::Output {
    LocalSet::new().run_until(future).await
}

/// S-40: a part that nobody takes ends its stream after the client timeout, and is counted.
#[tokio::test(start_paused = true)]
async fn s_40_a_part_that_nobody_takes_ends_its_stream() {
    local(async {
        let case = Case::start();
        case.hand_out();
        assert_eq!(case.seconds(100).await, 30);
        assert!(case.progress.stalled.get() && case.streams.is_empty());
        assert_eq!([case.streams.take_stalled(), case.streams.take_stalled()], [1, 0]);
    })
    .await;
}

/// A stream that waits for its pod is the pod's affair; so is one that has nothing to send yet.
#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_for_its_pod_is_left_alone() {
    local(async {
        let case = Case::start();
        assert_eq!(case.seconds(100).await, 100);
        case.hand_out();
        assert_eq!(case.seconds(20).await, 20);
        case.progress.held.set(false);
        assert_eq!(case.seconds(1000).await, 1000);
        let gone = Rc::clone(&case.gone);
        drop(case.wake);
        tokio::task::yield_now().await;
        assert!(gone.get());
        assert_eq!((case.streams.take_stalled(), case.streams.is_empty()), (0, true));
    })
    .await;
}

/// The wait is that of the present part: each one that is taken begins it anew.
#[tokio::test(start_paused = true)]
async fn every_part_has_the_whole_limit() {
    local(async {
        let case = Case::start();
        for _ in 0..10 {
            case.hand_out();
            assert_eq!(case.seconds(29).await, 29);
        }
        assert_eq!(case.seconds(100).await, 1);
    })
    .await;
}

/// On a link that is full a stream waits for its siblings, not for its own window; but not for ever.
#[tokio::test(start_paused = true)]
async fn a_full_link_is_given_more_time() {
    for already in [false, true] {
        local(async {
            let case = Case::start();
            case.wire.blocked.set(already);
            case.hand_out();
            tokio::task::yield_now().await;
            case.wire.blocks.set(u32::from(!already));
            assert_eq!(case.seconds(1000).await, 300);
        })
        .await;
    }
}
