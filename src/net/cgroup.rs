//! The memory limit that the control groups of this process set.
//!
//! Called by `app::router` at start. Reads both versions of control groups, seen from a host or from
//! within a container. What cannot be read is no limit.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The smallest limit on this process's group and those above it, in bytes; `None` without one.
#[must_use]
pub fn memory_limit() -> Option<u64> {
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    let files = limit_files(&text("/proc/self/mountinfo"), &text("/proc/self/cgroup"));
    files.iter().filter_map(|file| limit(&fs::read_to_string(file).ok()?)).min()
}

/// What a limit file says. Version 2 writes `max` for none, version 1 the largest count of pages.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < 1 << 62)
}

/// Where limits on this process may be, given its `mountinfo` and its `cgroup`.
fn limit_files(mounts: &str, groups: &str) -> Vec<PathBuf> {
    mounts.lines().filter_map(|mount| in_mount(mount, groups)).flatten().collect()
}

/// Those in one mount; `None` if it has nothing to do with memory.
fn in_mount(mount: &str, groups: &str) -> Option<Vec<PathBuf>> {
    let (place, kind) = mount.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?, Path::new(place.next()?));
    let mut kind = kind.split(' ');
    let (file, controller) = match (kind.next()?, kind.nth(1)?) {
        ("cgroup2", _) => ("memory.max", ""),
        ("cgroup", options) if has(options, "memory") => ("memory.limit_in_bytes", "memory"),
        _ => return None,
    };
    let group = groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        has(controllers, controller).then_some(path)
    })?;
    // In a container that sees the whole tree's path but only its own part of the tree, what is
    // mounted is the group itself.
    let inner = Path::new(group).strip_prefix(root).unwrap_or_else(|_outside| Path::new(""));
    let leaf = point.join(inner);
    Some(leaf.ancestors().take_while(|at| at.starts_with(point)).map(|at| at.join(file)).collect())
}

/// True if `word` is in the list `words`.
fn has(words: &str, word: &str) -> bool {
    words.split(',').any(|one| one == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(mounts: &str, groups: &str) -> Vec<String> {
        let files = limit_files(mounts, groups);
        files.into_iter().map(|file| file.into_os_string().into_string().unwrap()).collect()
    }

    #[test]
    fn version_2_limits_are_those_of_the_group_and_all_above() {
        let mounts = "22 1 8:1 / / rw - ext4 /dev/sda rw\n\
                      31 23 0:28 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(
            files(mounts, "0::/pods/router\n"),
            [
                "/sys/fs/cgroup/pods/router/memory.max",
                "/sys/fs/cgroup/pods/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(files(mounts, "0::/\n"), ["/sys/fs/cgroup/memory.max"]);
    }

    #[test]
    fn version_1_limits_are_in_the_mount_of_the_memory_controller() {
        let mounts = "34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
                      35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            files(mounts, "7:cpuset:/x\n4:hugetlb,memory:/a\n0::/\n"),
            [
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/unified/memory.max",
            ]
        );
    }

    #[test]
    fn a_container_that_sees_the_hosts_path_reads_the_top_of_its_own_mount() {
        for root in ["/docker/1f", "/elsewhere"] {
            let mounts =
                format!("35 31 0:32 {root} /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory");
            let found = files(&mounts, "4:memory:/docker/1f\n");
            assert_eq!(found, ["/sys/fs/cgroup/memory/memory.limit_in_bytes"], "{root}");
        }
    }

    #[test]
    fn nothing_is_found_in_what_is_not_understood() {
        for (mounts, groups) in [
            ("", ""),
            ("35 31 0:32 / /m rw - cgroup cgroup rw,memory", "4:cpu:/a"),
            ("35 31 0:32 / /m rw - cgroup", "4:memory:/a"),
            ("35 - cgroup2 cgroup2 rw", "0::/a"),
            ("35 31 0:32 / /m rw - cgroup2 cgroup2 rw", "0"),
        ] {
            assert_eq!(files(mounts, groups), [""; 0], "{mounts}");
        }
    }

    #[test]
    fn no_limit_is_written_in_two_ways() {
        assert_eq!(limit("268435456\n"), Some(256 << 20));
        assert_eq!([limit("max\n"), limit("9223372036854771712\n"), limit("")], [None; 3]);
    }
}
