//! L3: DNS: answers from the zone, the UDP and TCP server, the resolver for names outside.
//!
//! | file | step of a query |
//! |---|---|
//! | `server` | sockets, limits, deadlines |
//! | `plain` | plain questions of the zone, bytes to bytes; all others go the way below |
//! | `wire` | bytes to question, answer to bytes |
//! | `answer` | question and zone to answer, pure |
//! | `resolver` | names that the zone does not hold |
//! | `log` | a line about it, if wanted |
//! | `stats` | what is counted |

pub mod answer;
pub mod log;
pub mod plain;
pub mod resolver;
pub mod server;
pub mod stats;
pub mod wire;
