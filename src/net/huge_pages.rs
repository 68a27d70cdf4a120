//! Memory in small pages only.
//!
//! Called by `cli` for processes that hold little and should show it: with huge pages, one used byte keeps two
//! mebibytes.
#![expect(unsafe_code, reason = "neither the standard library nor libc's wrappers have this call")]

use std::io;

/// From `linux/prctl.h`.
const PR_SET_THP_DISABLE: libc::c_int = 41;

/// Asks the kernel for no huge pages in this process from now on.
///
/// # Errors
/// What the kernel says.
pub fn forgo() -> io::Result<()> {
    let (on, unused): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: the call takes numbers only and changes how later memory is backed.
    let done = unsafe { libc::prctl(PR_SET_THP_DISABLE, on, unused, unused, unused) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
