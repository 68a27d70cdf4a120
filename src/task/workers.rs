//! Threads with a single-threaded runtime each, for flows that stay where they were accepted.
//!
//! Made by `app::nlb`, used by `nlb::server`. A task on a runtime whose threads share work is woken
//! from one thread to the other; a flow has nothing to gain from that. Always holds: without threads
//! of their own, tasks run on the runtime that the caller is in.

use std::{io, sync::Arc};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Runtimes of workers. Clones refer to the same ones; when the last one is dropped, the threads end
/// with what still runs on them.
#[derive(Clone, Debug, Default)]
pub struct Workers(Option<Arc<Threads>>);

#[derive(Debug)]
struct Threads {
    handles: Vec<Handle>,
    _end: DropGuard,
}

/// How many threads run at once: the default for the number of workers.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Workers {
    /// Starts `count` threads, one at least.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be had.
    pub fn start(count: usize) -> io::Result<Self> {
        let end = CancellationToken::new();
        let mut threads =
            Threads { handles: Vec::with_capacity(count), _end: end.clone().drop_guard() };
        for index in 0..count.max(1) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            threads.handles.push(runtime.handle().clone());
            let end = end.clone();
            std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || runtime.block_on(end.cancelled()))?;
        }
        Ok(Self(Some(Arc::new(threads))))
    }

    /// The runtimes: one for each thread, or that which the caller is in.
    #[must_use]
    pub fn handles(&self) -> Vec<Handle> {
        self.0.as_ref().map_or_else(|| vec![Handle::current()], |threads| threads.handles.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_stay_on_their_thread_and_end_with_it() {
        let workers = Workers::start(2).unwrap();
        let mut names = Vec::new();
        let mut held = Vec::new();
        for handle in workers.handles() {
            let name = async {
                tokio::task::yield_now().await;
                std::thread::current().name().unwrap().to_owned()
            };
            names.push(handle.spawn(name).await.unwrap());
            held.push(handle.spawn(std::future::pending::<()>()));
        }
        assert_eq!(names, ["worker-0", "worker-1"]);
        drop(workers);
        for task in held {
            assert!(task.await.unwrap_err().is_cancelled());
        }
    }

    #[tokio::test]
    async fn without_threads_there_is_the_runtime_that_one_is_in() {
        let handles = Workers::default().handles();
        assert_eq!(handles.len(), 1);
        assert_eq!(handles[0].id(), Handle::current().id());
    }
}
