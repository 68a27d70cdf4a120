//! What a scripted pod has seen so far, the same for either protocol.
//!
//! Filled by `pod` and `h2pod`, whose pods are read like it.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

/// Requests of type `S`, and connections.
#[derive(Debug)]
pub struct Watched<S> {
    pub(super) seen: Mutex<Vec<S>>,
    pub(super) connections: AtomicUsize,
    pub(super) open: AtomicUsize,
}

impl<S> Default for Watched<S> {
    fn default() -> Self {
        Self { seen: Mutex::default(), connections: AtomicUsize::new(0), open: AtomicUsize::new(0) }
    }
}

impl<S: Clone + std::fmt::Debug> Watched<S> {
    /// The requests so far.
    pub fn seen(&self) -> Vec<S> {
        self.seen.lock().expect("no panic while held").clone()
    }

    /// The only request so far.
    pub fn one(&self) -> S {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }

    /// Number of requests so far.
    pub fn attempts(&self) -> usize {
        self.seen.lock().expect("no panic while held").len()
    }

    /// Number of connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// Number of connections now.
    pub fn open(&self) -> usize {
        self.open.load(SeqCst)
    }
}
