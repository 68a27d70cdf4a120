//! A process that is small from its first instruction on.
//!
//! Called by `cli::main` before anything is allocated that could wait.

use crate::{net::footprint, settings::env};

/// How long the allocator keeps memory that was given back to it, ms; read before `main` runs.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

/// Asks for no huge pages and an allocator that keeps nothing. Both concern what was allocated before this
/// runs, so the process starts once more, as what it was: same number, arguments and descriptors. It stays as
/// it is where [`PURGE_DELAY`] is set already, or the kernel will not; it is bigger then, and no worse.
pub(super) fn start() {
    let _refused = footprint::forgo_huge_pages();
    if !env::has_variable(PURGE_DELAY) {
        let _failed = env::start_again((PURGE_DELAY, "0"));
    }
}
