"""R-32, R-36 and R-37 for `bench/stress`: idle connections, a memory limit, and more load than fits."""

import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import cgroup
import common
import peer_load
import peer_special
from peer_configs import CLIENT_CORE, HOST, HTTP, HTTPS, answers, pinned
from peer_rows import run as run_client
from usage import resident

PODS = ["127.78.0.1", "127.78.0.2"]
MIB = 2**20
IDLE_BYTES = 40 * 1024
BACK_SHARE, BACK_SECONDS = 1.2, 60
KEPT_PER_CLIENT = 4000
THREADS_PER_CLIENT = 32
ATTEMPT_SECONDS = 0.3
QUIET_SECONDS = 0.05
RECOVER_SECONDS = 5


def idle(bed, options):
    """R-32: at most 40 KiB each, and within a minute of their end at most 20 % above the start."""
    bed.pods(PODS)
    router = bed.router(PODS)
    peer_special.release(peer_special.held(router.address, HTTPS, 50)[0])
    time.sleep(peer_special.SETTLE_SECONDS)
    before = resident(router.child.pid)
    client, said = peer_special.held(router.address, HTTPS, options.count)
    time.sleep(peer_special.SETTLE_SECONDS)
    each = (resident(router.child.pid) - before) / options.count
    alive = peer_special.release(client)
    began = time.monotonic()
    back = lambda: resident(router.child.pid) <= before * BACK_SHARE  # noqa: E731
    while not back() and time.monotonic() - began < BACK_SECONDS:
        time.sleep(0.5)
    after = resident(router.child.pid)
    print(
        f"idle: {said['done']} TLS connections, {said['errors']} failed, {alive} alive at the end; "
        f"{each:.0f} bytes each; {before / MIB:.1f} MiB before, {after / MIB:.1f} MiB "
        f"{time.monotonic() - began:.1f} s after their end"
    )
    return each <= IDLE_BYTES and back() and said["errors"] == 0 and alive == options.count


def attempt(address, number, context):
    """A connection that asked once, and what became of it."""
    try:
        connection = socket.create_connection((address, HTTPS if context else HTTP), timeout=ATTEMPT_SECONDS)
    except OSError as error:
        return None, type(error).__name__
    try:
        if context:
            connection = context.wrap_socket(connection, server_hostname=HOST)
        # Every third only begins a request: its head is a while in memory.
        whole = number % 3 != 0
        connection.sendall(peer_load.request(HOST) if whole else f"GET /{'x' * 6000}".encode())
        if not whole:
            return connection, "unfinished"
        head, _ = peer_load.read_head(connection)
        return connection, head.split()[1].decode()
    except OSError as error:
        connection.close()
        return None, type(error).__name__


def flood(address, count):
    """Attempts by several threads, of which it keeps the last few thousand; prints the outcomes."""
    peer_load.raise_descriptor_limit()
    context, kept, outcomes, lock = peer_load.tls_context(), [], Counter(), threading.Lock()
    numbers = iter(range(count))

    def worker():
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            connection, outcome = attempt(address, number, context if number % 2 else None)
            with lock:
                outcomes[outcome] += 1
                if connection:
                    kept.append(connection)
                surplus = kept.pop(random.randrange(len(kept))) if len(kept) > KEPT_PER_CLIENT else None
            if surplus:
                surplus.close()

    threads = [threading.Thread(target=worker) for _ in range(THREADS_PER_CLIENT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(outcomes), flush=True)


def memory(bed, options):
    """R-36: under a memory limit it sheds and is never killed."""
    bed.pods(PODS)
    group, limit = None, options.megabytes * MIB
    try:
        group = cgroup.memory(limit)
        wrap, how = group.command, "a control group"
    except OSError as error:
        how = f"the address space (no control group: {error})"
        wrap = lambda command: ["prlimit", f"--as={limit}", *map(str, command)]  # noqa: E731
    router = bed.router(PODS, wrap)
    entry = [sys.executable, "-c", "import sys, stress_limits as s; s.flood(sys.argv[1], int(sys.argv[2]))"]
    share = str(options.count // options.clients)
    clients = [
        subprocess.Popen(
            pinned(CLIENT_CORE, [*entry, router.address, share]), stdout=subprocess.PIPE, cwd=bed.scripts
        )
        for _ in range(options.clients)
    ]
    admin = []
    while any(client.poll() is None for client in clients) and router.alive():
        began = time.monotonic()
        if common.answers("127.0.0.1", 1936, "/healthz"):
            admin.append(time.monotonic() - began)
        time.sleep(0.5)
    outcomes = {}
    for client in clients:
        for name, number in json.loads(client.communicate()[0] or "{}").items():
            outcomes[name] = outcomes.get(name, 0) + number
    used, kills = (cgroup.peak(group), cgroup.killed(group)) if group else (resident(router.child.pid), 0)
    time.sleep(2)
    serves = router.alive() and answers(router.address)
    bed.stop_router()
    if group:
        group.remove()
    print(
        f"memory: {options.count} connection attempts, limit {options.megabytes} MiB by {how}: "
        f"outcomes {outcomes}; most used {used / MIB:.0f} MiB, killed for memory {kills}, "
        f"serves afterwards: {serves}; admin port answered {len(admin)} times, the slowest in "
        f"{max(admin, default=0) * 1000:.0f} ms"
    )
    return kills == 0 and serves


def offered(router, options, seconds, connections, rate=None, new=False):
    """Good answers per second under this load, and what else there was."""
    command = ["oha", "--no-tui", "--output-format", "json", "--worker-threads", "1", "-t", "1s"]
    command += ["-z", f"{seconds}s", "-c", connections]
    command += ["--connect-to", f"{HOST}:{HTTP}:{router.address}:{HTTP}"]
    command += (["-q", int(rate)] if rate else []) + (["--disable-keepalive"] if new else [])
    report = run_client(pinned(CLIENT_CORE, [*command, f"http://{HOST}:{HTTP}/"]), seconds + 60)
    if not report:
        sys.exit("oha failed")
    statuses = report["statusCodeDistribution"]
    others = {name: number for name, number in statuses.items() if name != "200"}
    return statuses.get("200", 0) / report["summary"]["total"], {**others, **report["errorDistribution"]}


def recovered(address):
    """Seconds until ten requests in a row, each on a new connection, were answered fast."""
    began, row = time.monotonic(), 0
    while row < 10 and time.monotonic() - began < 60:
        start = time.monotonic()
        row = row + 1 if answers(address) and time.monotonic() - start < QUIET_SECONDS else 0
        time.sleep(0.02)
    return time.monotonic() - began


def overload(bed, options):
    """R-37: with twice the load that fits, at least 80 % of the best goodput, and quiet soon after."""
    bed.pods(PODS)
    try:
        group = cgroup.share(options.share)
        wrap, how = group.command, f"{options.share:.0%} of a core"
    except OSError as error:
        group, wrap, how = None, list, f"a core that may not be the bottleneck (no control group: {error})"
    router = bed.router(PODS, wrap)
    good = True
    for name, new in (("kept connections", False), ("new connections", True)):
        peak = max(offered(router, options, 5, 64, new=new)[0] for _ in range(2))
        under, others = offered(router, options, options.seconds, options.connections, 2 * peak, new)
        back = recovered(router.address)
        print(
            f"overload, {name}, router on {how}: best {peak:.0f}/s; offered {2 * peak:.0f}/s over "
            f"{options.connections} connections for {options.seconds} s: {under:.0f}/s good "
            f"({under / peak:.0%}), others {others}; quiet {back:.1f} s after"
        )
        good &= under >= 0.8 * peak and back <= RECOVER_SECONDS
    bed.stop_router()
    if group:
        group.remove()
    return good
