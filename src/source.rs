//! L5: sources of objects.
//!
//! `directory` reads a folder of manifests, `watch` follows its changes; `document`, `object`, `schema`,
//! `defaults` and `validate` turn text into typed objects and findings; `ingress` makes Routes of
//! Ingresses.

pub mod defaults;
pub mod directory;
pub mod document;
pub mod ingress;
pub mod object;
pub mod schema;
pub mod validate;
pub mod watch;
