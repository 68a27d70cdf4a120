//! Which route answers a request: the table against its oracle, and what clients see of it
//! (spec/route.md 10.1 to 10.4).

mod oracle;
mod property;
