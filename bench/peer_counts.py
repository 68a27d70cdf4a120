"""Instructions and allocations per request of wharf, by callgrind.

The counters are dumped after a warm-up and after N requests more, so start and warm-up are not in the
figure. Allocations are calls of the allocator's entry points: a build with another allocator shows none.
"""

import re
import shutil
import subprocess
import sys
from collections import Counter

from peer_configs import HTTP, HTTPS, Wharf
from peer_rows import oha

REQUESTS, WARM = 2000, 300
TOP = 15
# What Rust's allocator interface calls; what these call in turn is not counted.
ALLOCATE = re.compile(r"^(mi_malloc_aligned|mi_zalloc_aligned|mi_malloc|mi_zalloc|malloc|calloc)$")
REALLOCATE = re.compile(r"^(mi_realloc_aligned|mi_realloc|realloc)$")
H2 = ("--http2", "-p", 1)
COUNTED = (
    ("plain", "base", oha(HTTP, connections=1)),
    ("plain-log", "log", oha(HTTP, connections=1)),
    ("tls", "base", oha(HTTPS, connections=1)),
    ("h2", "base", oha(HTTPS, "/", 1, H2)),
)


class Counted(Wharf):
    """wharf under callgrind."""

    def command(self, setup):
        out = f"--callgrind-out-file={setup.work}/callgrind.out"
        return ["valgrind", "--tool=callgrind", out, *super().command(setup)]


class Profile:
    """One dump of callgrind: all instructions, those of each function itself, and calls by function."""

    def __init__(self, text):
        self.total, self.own, self.calls = 0, Counter(), Counter()
        names, function, callee, inclusive = {}, "", "", False
        for line in text.splitlines():
            if line.startswith(("fn=", "cfn=")):
                number, _, name = line.partition("=")[2].partition(" ")
                name = names.setdefault(number, name)
                if line.startswith("fn="):
                    function = name
                else:
                    callee = name
            elif line.startswith("calls="):
                self.calls[callee] += int(line[6:].split()[0])
                inclusive = True
            elif line[:1] in "+-*0123456789" and line:
                if not inclusive:
                    self.own[function] += int(line.split()[-1])
                inclusive = False
        self.total = sum(self.own.values())


def dump(pid, work, number):
    command = ["callgrind_control", "-d", str(pid)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = sorted(work.glob(f"callgrind.out.{number}*"))
    return "".join(path.read_text(errors="replace") for path in found)


def count(group, peer, load):
    """Figures per request."""
    process, work = group.children[peer.label], group.setup.work
    if load(peer.address, WARM, work).errors:
        return None
    taken = len({path.name for path in work.glob("callgrind.out.*")})
    dump(process.pid, work, taken + 1)
    seen = load(peer.address, REQUESTS, work)
    profile = Profile(dump(process.pid, work, taken + 2))
    calls = lambda names: sum(n for name, n in profile.calls.items() if names.match(name))  # noqa: E731
    return {
        "instructions": profile.total / REQUESTS,
        "allocations": calls(ALLOCATE) / REQUESTS,
        "reallocations": calls(REALLOCATE) / REQUESTS,
        "errors": seen.errors,
        "top": [[name, round(own / REQUESTS)] for name, own in profile.own.most_common(TOP)],
    }


def run(make, peers):
    if not peers or not shutil.which("valgrind"):
        print("instructions: left out, wharf or valgrind is missing", file=sys.stderr)
        return {}
    results = {}
    for name in ("base", "log"):
        peer = Counted(1)
        with make(name, [peer]) as group:
            group.start(peer)
            for row, wanted, load in COUNTED:
                if wanted == name and (figures := count(group, peer, load)):
                    results[row] = figures
                    print(f"instructions {row}: {figures}", file=sys.stderr, flush=True)
    return results
