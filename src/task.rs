//! L0: tasks of a bounded size.
//!
//! What a connection costs while it is idle is the size of its task's future, before any buffer; one
//! more value that lives across an await is paid by every connection. So each spawn point of the data
//! path states its bound here, and a future that outgrows it does not compile. A bound may be raised,
//! with the reason in the commit.

pub mod workers;

use tokio::task::JoinHandle;

/// Most bytes of the task of a client connection, plain or TLS, HTTP/1 or HTTP/2.
pub const CONNECTION: usize = 256;

/// Most bytes of the task of one stream of HTTP/2.
pub const STREAM: usize = 512;

/// Most bytes of the task of a tunnel.
pub const TUNNEL: usize = 1536;

/// Most bytes of the task of a connection to a pod.
pub const UPSTREAM: usize = 1_536;

/// Most bytes of the task that passes a request's body on to a pod of HTTP/2.
pub const UPLOAD: usize = 256;

/// Most bytes of the task of an HTTP/2 connection to a pod, which many requests share.
pub const UPSTREAM_HTTP2: usize = 4096;

/// Runs `future`, of at most `MAX` bytes, on the thread and runtime that this is called from. It is
/// owned by that runtime, and ends by its own limits, by the handle, or with the process.
pub fn spawn_local<const MAX: usize, F>(future: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + 'static,
{
    const { assert!(size_of::<F>() <= MAX, "a task has outgrown its bound") };
    tokio::task::spawn_local(future)
}
