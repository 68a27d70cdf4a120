//! The rows of the table of environment variables: one file for each idea, what they share here, and
//! the names that do nothing yet.

mod capacity;
mod certificates;
mod haproxy;
mod identity;
mod listeners;
mod log;
mod process;
mod timeouts;
mod traffic;

use super::Outcome;
pub(super) use super::row::row;
use crate::model::grammar;
pub use capacity::CAPACITY;
pub use certificates::CERTIFICATES;
pub use haproxy::HAPROXY;
pub use identity::IDENTITY;
pub use listeners::LISTENERS;
pub use log::LOG;
pub use process::PROCESS;
pub use timeouts::TIMEOUTS;
pub use traffic::TRAFFIC;

const NOT_A_COUNT: Outcome = Outcome::Noted("is not a positive number; the default is used");

fn count(value: &str) -> Option<usize> {
    grammar::parse_integer(value).and_then(|number| usize::try_from(number).ok())
}
