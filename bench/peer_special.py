"""Rows of `bench/peers` that are no rate: idle connections, a route added to many, and instructions.

`run` returns {row: {label: {figure: value}}}.
"""

import http.client
import json
import random
import select
import statistics
import subprocess
import sys
import threading
import time

import common
import peer_counts
from peer_configs import CLIENT_CORE, HTTP, HTTPS, answers, pinned
from peer_rows import LOAD
from usage import resident

SETTLE_SECONDS = 12
LOAD_PER_SECOND = 100
GIVE_UP_SECONDS = 60
IDLE = {"idle": HTTP, "idle-tls": HTTPS}
ROWS = (*IDLE, "add", "instructions")
# These take a new route while they run; the others would need an API that is not measured here.
ADDING = ("wharf", "HAProxy OpenShift-like", "nginx")


def held(address, port, count):
    """A client that holds `count` connections, and what it said of them."""
    command = [sys.executable, LOAD, "idle", "--address", address, "--port", port, "--count", count]
    command = pinned(CLIENT_CORE, command) + (["--tls"] if port == HTTPS else [])
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    return client, json.loads(client.stdout.readline() or '{"done": 0, "errors": 1}')


def release(client):
    """Ends it; how many of its connections were still open."""
    text, _ = client.communicate(b"\n")
    return json.loads(text or '{"alive": 0}')["alive"]


def idle(make, peer, port, options):
    """Resident bytes per connection, of a process that has served nothing but a warm-up."""
    with make("base", [peer]) as group:
        group.start(peer)
        root = group.children[peer.label].pid
        release(held(peer.address, port, 20)[0])
        time.sleep(SETTLE_SECONDS)
        before = resident(root)
        client, said = held(peer.address, port, options.idle)
        time.sleep(SETTLE_SECONDS)
        grown = resident(root) - before
        alive = release(client)
        time.sleep(SETTLE_SECONDS)
        kept = resident(root) - before
    figures = {"bytes": grown / options.idle, "after close": kept / options.idle}
    # Those that were closed meanwhile make the figure too small.
    return {**figures, "closed": options.idle - alive, "errors": max(said["errors"], options.idle - alive)}


class LightLoad(threading.Thread):
    """Random old hosts over four kept connections; a request is lost when it was sent and not answered well."""

    def __init__(self, address, hosts):
        super().__init__()
        self.address, self.hosts = address, hosts
        self.done = self.lost = 0
        self.stop = threading.Event()

    def run(self):
        open_connections, chosen = [None] * 4, random.Random(7)
        while not self.stop.wait(1 / LOAD_PER_SECOND):
            index = self.done % 4
            open_connections[index] = self.ask(open_connections[index], chosen.choice(self.hosts))
            self.done += 1

    def ask(self, connection, host):
        if connection is None or connection.sock is None or select.select([connection.sock], [], [], 0)[0]:
            # Closed while it was idle, which a client may expect.
            connection = http.client.HTTPConnection(self.address, HTTP, timeout=10)
        try:
            connection.request("GET", "/", headers={"Host": host})
            response = connection.getresponse()
            response.read()
            self.lost += response.status != 200
            return connection
        except (OSError, http.client.HTTPException):
            self.lost += 1
            return None


def added(make, peer, options):
    """Milliseconds from the end of the write or from the signal to the first answer for a new host."""
    adds = options.adds if peer.label == "wharf" else max(5, options.adds // 10)
    with make("hosts", [peer]) as group:
        group.start(peer)
        load = LightLoad(peer.address, group.setup.all_hosts())
        load.start()
        took, late = [], 0
        for _ in range(adds):
            host = peer.add(group.setup, group.children[peer.label])
            began = time.monotonic()
            while not answers(peer.address, host):
                waited = time.monotonic() - began
                if waited > GIVE_UP_SECONDS:
                    late += 1
                    break
                # Asking costs the proxy: the longer it takes, the less often, to 2 % of the result.
                time.sleep(max(0.0005, waited / 50))
            took.append((time.monotonic() - began) * 1000)
            time.sleep(0.05)
        load.stop.set()
        load.join()
    p50, p99 = statistics.median(took), common.percentile(took, 0.99)
    figures = {"p50": p50, "p99": p99, "worst": max(took), "adds": adds}
    return {**figures, "requests": load.done, "errors": load.lost + late}


def run(make, peers, wanted, options):
    results = {}
    for name in ROWS:
        if wanted and name not in wanted:
            continue
        results[name] = cells = {}
        if name == "instructions":
            cells.update(peer_counts.run(make, [peer for peer in peers if peer.label == "wharf"]))
            continue
        for peer in peers:
            if name in IDLE:
                cells[peer.label] = idle(make, peer, IDLE[name], options)
            elif peer.label in ADDING:
                cells[peer.label] = added(make, peer, options)
            else:
                continue
            figures = {key: round(value, 1) for key, value in cells[peer.label].items()}
            print(f"{name}: {peer.label}: {figures}", file=sys.stderr, flush=True)
    return results
