//! What a process holds of memory without need: huge pages, and parts of the program that only the start needs.
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

/// Lets go of the code and the constants of the program and its libraries, bytes. What is needed again comes
/// back page by page out of the file, which the kernel has in memory still; what the start alone needed does not.
///
/// # Errors
/// If the kernel does not tell what is mapped, or will not let go of it.
pub fn let_go_of_program() -> io::Result<usize> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let mut bytes = 0;
    for range in maps.lines().filter_map(unwritten) {
        // SAFETY: the pages are those of a file and nothing was ever written to them (see `unwritten`), so what
        // comes back is what is there now.
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

/// Where a line of `/proc/self/maps` maps a part of a file that nothing is written to: code, which is
/// position-independent and needs no relocation, and the constants that a file starts with. What is relocated
/// and then protected stands further on.
fn unwritten(line: &str) -> Option<Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (range, access, offset) = (fields.next()?, fields.next()?, fields.next()?);
    let file = fields.nth(2)?;
    let (start, end) = range.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    let is_unwritten = access == "r-xp" || (access == "r--p" && number(offset)? == 0);
    (is_unwritten && file.starts_with('/')).then_some(number(start)?..number(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_and_the_start_of_a_file_are_unwritten() {
        let line = |part: &str, file: &str| format!("1000-3000 {part} fe:00 1234   {file}");
        for part in ["r-xp 0000a000", "r--p 00000000"] {
            assert_eq!(unwritten(&line(part, "/usr/bin/wharf")), Some(0x1000..0x3000));
        }
        for (part, file) in [
            ("rwxp 0000a000", "/usr/bin/wharf"),
            ("r-xs 0000a000", "/usr/bin/wharf"),
            ("r--p 0000a000", "/usr/bin/wharf"),
            ("rw-p 00000000", "/usr/bin/wharf"),
            ("r-xp 00000000", "[vdso]"),
            ("r-xp 00000000", ""),
        ] {
            assert_eq!(unwritten(&line(part, file)), None, "{part} {file}");
        }
        assert_eq!(unwritten("not a line"), None);
    }

    /// It runs on.
    #[test]
    fn what_was_let_go_comes_back() {
        assert!(let_go_of_program().expect("maps") > 0);
        assert!(let_go_of_program().expect("maps") > 0);
    }
}
