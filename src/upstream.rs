//! L3: connections to pods: who is dialled, the pool of idle connections, sending a request.

pub mod body;
pub mod dial;
pub mod expect;
pub mod gate;
pub mod h1;
pub mod h2;
pub mod peer;
pub mod pool;
pub mod secure;
