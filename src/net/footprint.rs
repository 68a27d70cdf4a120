//! What a process holds of memory without need: huge pages, and code that ran once.
//!
//! Called by `cli` and `app::dns` for a process that holds little and should show it.
#![expect(
    unsafe_code,
    reason = "neither the standard library nor libc's wrappers have these calls"
)]

use std::{fs, io, ops::Range};

/// From `linux/prctl.h`.
const PR_SET_THP_DISABLE: libc::c_int = 41;

/// Asks the kernel for no huge pages in this process from now on, nor in what it executes: with them, one
/// used byte keeps two mebibytes.
///
/// # Errors
/// What the kernel says.
pub fn forgo_huge_pages() -> io::Result<()> {
    let (on, unused): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: the call takes numbers only and changes how later memory is backed.
    let done = unsafe { libc::prctl(PR_SET_THP_DISABLE, on, unused, unused, unused) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets go of the code of the program and its libraries, bytes. What is run again comes back page by page out
/// of the file, which the kernel has in memory still; what ran at the start alone does not.
///
/// # Errors
/// If the kernel does not tell what is mapped, or will not let go of it.
pub fn let_go_of_code() -> io::Result<usize> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let mut bytes = 0;
    for range in maps.lines().filter_map(code) {
        // SAFETY: the kernel says that a file is mapped here, privately, to run and not to write. Nothing is
        // written to such pages, as position-independent code needs no relocation, so the file has them all.
        let done = unsafe {
            libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTNEED)
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        bytes += range.len();
    }
    Ok(bytes)
}

/// Where a line of `/proc/self/maps` maps a file to run, and nothing but that.
fn code(line: &str) -> Option<Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (range, access) = (fields.next()?, fields.next()?);
    let file = fields.nth(3)?;
    let (start, end) = range.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    (access == "r-xp" && file.starts_with('/')).then_some(address(start)?..address(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_cannot_be_written_to_are_code() {
        let line =
            |access: &str, file: &str| format!("1000-3000 {access} 0000a000 fe:00 1234   {file}");
        assert_eq!(code(&line("r-xp", "/usr/bin/wharf")), Some(0x1000..0x3000));
        for (access, file) in [
            ("rwxp", "/usr/bin/wharf"),
            ("r-xs", "/usr/bin/wharf"),
            ("r--p", "/usr/bin/wharf"),
            ("r-xp", "[vdso]"),
            ("r-xp", ""),
        ] {
            assert_eq!(code(&line(access, file)), None, "{access} {file}");
        }
        assert_eq!(code("not a line"), None);
    }

    /// It runs on, by code that comes back.
    #[test]
    fn code_that_was_let_go_runs_again() {
        assert!(let_go_of_code().expect("maps") > 0);
        assert!(let_go_of_code().expect("maps") > 0);
    }
}
