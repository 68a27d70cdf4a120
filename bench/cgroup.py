"""Control groups of one measurement: a memory limit, and a share of a core. Version 1 or 2; root only."""

import contextlib
import os
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD_MICROSECONDS = 10_000


class Group:
    """A group of one controller, removed at the end."""

    def __init__(self, controller):
        self.old = (ROOT / controller).is_dir()
        parent = ROOT / controller if self.old else ROOT
        self.path = parent / f"wharf-bench-{controller}-{os.getpid()}"
        if not self.old:
            (ROOT / "cgroup.subtree_control").write_text(f"+{controller}")
        self.path.mkdir()

    def write(self, name, value):
        (self.path / name).write_text(str(value))

    def number(self, name, key=""):
        """The value of a file, or of the line that starts with `key`; 0 where there is none."""
        with contextlib.suppress(OSError, ValueError):
            for line in (self.path / name).read_text().splitlines():
                if not key or line.split()[0] == key:
                    return int(line.split()[-1])
        return 0

    def command(self, command):
        """`command`, in this group from its first instruction on."""
        script = f'echo $$ > {self.path}/cgroup.procs && exec "$@"'
        return ["sh", "-c", script, "sh", *map(str, command)]

    def remove(self):
        for _ in range(100):
            with contextlib.suppress(OSError):
                self.path.rmdir()
                return
            time.sleep(0.1)


def memory(limit):
    """A group that may use `limit` bytes, kernel memory included and no swap."""
    group = Group("memory")
    group.write("memory.limit_in_bytes" if group.old else "memory.max", limit)
    return group


def peak(group):
    return group.number("memory.max_usage_in_bytes" if group.old else "memory.peak")


def killed(group):
    """How many of its processes the kernel killed for want of memory."""
    if group.old:
        return group.number("memory.oom_control", "oom_kill")
    return group.number("memory.events", "oom_kill")


def share(of_a_core):
    """A group that gets this share of one core, in slices of 10 ms."""
    group = Group("cpu")
    quota = int(PERIOD_MICROSECONDS * of_a_core)
    if group.old:
        group.write("cpu.cfs_period_us", PERIOD_MICROSECONDS)
        group.write("cpu.cfs_quota_us", quota)
    else:
        group.write("cpu.max", f"{quota} {PERIOD_MICROSECONDS}")
    return group
