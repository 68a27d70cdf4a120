"""What the kernel says that a process and its children have used.

Totals come from the scheduler in nanoseconds; how they divide into user and system comes from the process
clock, which ticks every 10 ms, so a measurement should last a second of processor time.
"""

import os
import re
from pathlib import Path


def fields(pid):
    """/proc/PID/stat from the third field on, None once the process has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None


def tree(root):
    """`root` and everything below it."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (found := fields(name)):
            parents[int(name)] = int(found[1])
    members, before = {root}, 0
    while len(members) != before:
        before = len(members)
        members |= {pid for pid, parent in parents.items() if parent in members}
    return members


class Usage:
    """Processor time of a tree so far: nanoseconds in all, and ticks in user and in system mode."""

    def __init__(self, root):
        self.total = self.user = self.system = 0
        for pid in tree(root):
            found = fields(pid)
            if not found:
                continue
            self.user += int(found[11])
            self.system += int(found[12])
            for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                try:
                    self.total += int(task.read_text().split()[0])
                except OSError:
                    continue

    def since(self, before):
        """(user, system) in microseconds."""
        total = (self.total - before.total) / 1000
        user, system = self.user - before.user, self.system - before.system
        share = user / (user + system) if user + system else 0.5
        return total * share, total * (1 - share)


def resident(root):
    """Resident bytes of a tree."""
    total = 0
    for pid in tree(root):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        total += int(found[1]) * 1024 if found else 0
    return total
