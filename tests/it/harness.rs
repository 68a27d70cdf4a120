//! What the tests of this binary share: a whole router on ports of its own, scripted pods, raw
//! clients, manifests as values.
//!
//! Used by every file next to it. Always holds: every wait of the harness is bounded by [`LIMIT`],
//! which is a bound for failing tests and never waited out by passing ones.

pub mod authority;
pub mod client;
pub mod frames;
pub mod h2client;
pub mod h2pod;
pub mod http2;
pub mod manifest;
pub mod outcome;
pub mod pod;
pub mod router;
pub mod tls;
pub mod tlspod;
pub mod watched;

use std::time::Duration;

/// Bound of one wait.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Runs `future` within [`LIMIT`].
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let outcome = tokio::time::timeout(LIMIT, future).await;
    outcome.unwrap_or_else(|_| panic!("{what}: nothing within {LIMIT:?}"))
}

/// Looks again and again until `look` gives something.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
}

/// Times in a row that a count must be found unchanged to be at rest: on a busy machine a process that
/// could go on may have to wait for its turn.
const UNCHANGED: usize = 4;

/// Waits until `count`, once it is not zero, has stopped growing; its value then.
pub async fn at_rest<N: Copy + Default + PartialEq>(count: impl Fn() -> N) -> N {
    let (mut last, mut unchanged) = (N::default(), 0);
    within("the count to stop growing", async {
        while unchanged < UNCHANGED {
            tokio::time::sleep(Duration::from_millis(150)).await;
            let now = count();
            unchanged = if now == last && now != N::default() { unchanged + 1 } else { 0 };
            last = now;
        }
    })
    .await;
    last
}
