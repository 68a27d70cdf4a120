//! The limit on open files of this process.
//!
//! Called by `app::router` at start.
#![expect(unsafe_code, reason = "the standard library cannot read or set resource limits")]

use std::io;

/// Raises the soft limit to the hard one, which needs no privilege, and returns it.
///
/// # Errors
/// What the kernel says to getrlimit or setrlimit.
pub fn raise() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a whole `rlimit` that lives through the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: as above; the kernel only reads it.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_raised_stays_and_is_what_the_kernel_says() {
        let limit = raise().unwrap();
        assert_eq!(raise().unwrap(), limit);
        let text = std::fs::read_to_string("/proc/self/limits").unwrap();
        let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let said: Vec<&str> = line["Max open files".len()..].split_whitespace().collect();
        assert_eq!(&said[..2], [limit.to_string(), limit.to_string()]);
    }
}
