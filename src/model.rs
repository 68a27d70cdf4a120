//! L1: the objects that wharf reads, as plain data, and what can be said about them.
//!
//! Called by every layer above. Holds no sockets, no clock and no tokio types.

pub mod annotation;
pub mod civil;
pub mod finding;
pub mod grammar;
pub mod interner;
pub mod logformat;
pub mod objects;
pub mod own_text;
pub mod page;
pub mod reason;
pub mod route;
pub mod selector;
pub mod service;
pub mod slice;
pub mod status;
pub mod termination;
pub mod yaml;
