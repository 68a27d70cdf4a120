//! `process_*`, and the same as `haproxy_process_*`, from `/proc/self`.

use std::{fmt, fs};

use super::Out;

/// Ticks a second in `/proc`: USER_HZ is 100 on every Linux that Rust's tier 1 and 2 name.
const TICKS: f64 = 100.0;

/// What `/proc` says. A value that cannot be read is left out.
#[derive(Debug, Default)]
struct Process {
    cpu_seconds: Option<f64>,
    start_time: Option<f64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
    resident: Option<u64>,
    virtual_memory: Option<u64>,
    virtual_memory_max: Option<u64>,
}

/// Writes both groups.
pub(super) fn encode(out: &mut Out<'_>) -> fmt::Result {
    let process = read();
    for prefix in ["haproxy_process", "process"] {
        if let Some(seconds) = process.cpu_seconds {
            let name = format!("{prefix}_cpu_seconds");
            out.total(&name, "User and system time.", seconds)?;
        }
        if let Some(seconds) = process.start_time {
            out.level(&format!("{prefix}_start_time_seconds"), "Start, since 1970.", seconds)?;
        }
        for (name, help, value) in [
            ("open_fds", "Open descriptors.", process.open_fds),
            ("max_fds", "Limit of descriptors.", process.max_fds),
            ("resident_memory_bytes", "Resident memory.", process.resident),
            ("virtual_memory_bytes", "Virtual memory.", process.virtual_memory),
            ("virtual_memory_max_bytes", "Limit of it.", process.virtual_memory_max),
        ] {
            if let Some(value) = value {
                out.level(&format!("{prefix}_{name}"), help, value)?;
            }
        }
    }
    Ok(())
}

fn read() -> Process {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let stat = text("/proc/self/stat");
    let status = text("/proc/self/status");
    let limits = text("/proc/self/limits");
    let start = field(&stat, 19);
    let boot = number_after(&text("/proc/stat"), "btime");
    Process {
        cpu_seconds: field(&stat, 11).zip(field(&stat, 12)).map(|(a, b)| (a + b) / TICKS),
        start_time: boot.zip(start).and_then(|(boot, start)| {
            let boot = u32::try_from(boot).ok()?;
            Some(f64::from(boot) + start / TICKS)
        }),
        open_fds: fs::read_dir("/proc/self/fd").ok().map(super::count),
        max_fds: number_after(&limits, "Max open files"),
        resident: number_after(&status, "VmRSS:").map(|kib| kib * 1024),
        virtual_memory: number_after(&status, "VmSize:").map(|kib| kib * 1024),
        // As Go's collector has it, no limit is the largest number.
        virtual_memory_max: number_after(&limits, "Max address space")
            .or_else(|| (!limits.is_empty()).then_some(u64::MAX)),
    }
}

/// The field at `index` behind the process's name, which may hold spaces and parentheses.
fn field(stat: &str, index: usize) -> Option<f64> {
    stat.rsplit_once(") ")?.1.split(' ').nth(index)?.parse().ok()
}

/// The number behind `key` at the start of a line.
fn number_after(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_the_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 4 0 1234 5 6";
        assert_eq!(field(stat, 11), Some(250.0));
        assert_eq!(field(stat, 12), Some(50.0));
        assert_eq!(field(stat, 19), Some(1234.0));
        assert_eq!(field("", 11), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let process = read();
        assert!(process.resident.is_some_and(|bytes| bytes > 4096));
        assert!(process.open_fds.is_some_and(|count| count > 0));
        assert!(process.max_fds > process.open_fds);
        assert!(process.start_time.is_some_and(|seconds| seconds > 1e9));
        assert!(process.cpu_seconds.is_some());
    }
}
