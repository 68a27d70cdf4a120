"""The rows of `bench/peers`: what the client does, and how much of it makes a second of processor time."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from peer_configs import CLIENT_CORE, HOST, HTTP, HTTPS, MANY, pinned

LOAD = Path(__file__).resolve().with_name("peer_load.py")
GIVE_UP_SECONDS = 120
MIB = "/data?size=1MB"


@dataclass
class Load:
    """What a client saw; latencies in milliseconds."""

    done: int
    errors: int
    p50: float
    p99: float
    note: str = ""


FAILED = Load(0, 1, 0.0, 0.0)


@dataclass
class Row:
    """`group` names the set of proxies it runs against; `first` is how many exchanges warm one up."""

    name: str
    what: str
    group: str
    first: int
    load: callable
    most: int = 400_000
    options: list = field(default_factory=list)


def run(command, seconds=GIVE_UP_SECONDS):
    """The JSON that a client prints; None when it fails or does not end."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        sys.stderr.write(done.stderr.decode(errors="replace")[-400:])
        return None


def oha(port, path="/", connections=16, extra=()):
    """A load of oha over `connections` kept connections."""
    scheme = "https" if port == HTTPS else "http"

    def load(address, count, work):
        command = ["oha", "--no-tui", "--output-format", "json", "--worker-threads", "1", "--insecure"]
        command += ["-n", count, "-c", connections, "--connect-to", f"{HOST}:{port}:{address}:{port}"]
        command += [str(part).replace("WORK", str(work)) for part in extra]
        report = run(pinned(CLIENT_CORE, [*command, f"{scheme}://{HOST}:{port}{path}"]))
        if not report:
            return FAILED
        statuses, latency = report["statusCodeDistribution"], report["latencyPercentiles"]
        done = statuses.get("200", 0)
        kinds = {name: number for name, number in statuses.items() if name != "200"}
        kinds.update(report["errorDistribution"])
        note = ", ".join(f"{number} x {name}" for name, number in kinds.items())
        return Load(done, count - done, (latency["p50"] or 0) * 1e3, (latency["p99"] or 0) * 1e3, note)

    return load


def own(kind, port, *extra):
    """A load of peer_load.py."""

    def load(address, count, _work):
        command = [sys.executable, LOAD, kind, "--address", address, "--port", port, "--count", count]
        report = run(pinned(CLIENT_CORE, [*command, *extra]))
        if not report:
            return FAILED
        return Load(report["done"], report["errors"], report["p50"] * 1e3, report["p99"] * 1e3)

    return load


def rows(hosts):
    """All rows that are a rate of exchanges, in the order of the table."""
    h2 = ("--http2", "-p", 10)
    put = ("-m", "PUT", "-D", "WORK/body")
    many = ("--hosts", hosts, "--host", MANY)
    return [
        Row("plain", "keep-alive, plain, 16 connections", "base", 3000, oha(HTTP)),
        Row("plain-log", "keep-alive, plain, access log on", "log", 3000, oha(HTTP)),
        Row("tls", "keep-alive, TLS 1.3, 16 connections", "base", 3000, oha(HTTPS)),
        Row("tls-log", "keep-alive, TLS 1.3, access log on", "log", 3000, oha(HTTPS)),
        Row("handshake", "a full TLS 1.3 handshake for each request", "base", 200, own("handshakes", HTTPS)),
        Row("h2", "HTTP/2 over TLS, 10 connections x 10 streams", "base", 3000, oha(HTTPS, "/", 10, h2)),
        Row("down", "1 MiB down, plain, 8 connections", "base", 100, oha(HTTP, MIB, 8)),
        Row("down-tls", "1 MiB down, TLS 1.3, 8 connections", "base", 100, oha(HTTPS, MIB, 8)),
        Row("up", "1 MiB up, plain, 8 connections", "up", 100, oha(HTTP, MIB, 8, put)),
        Row("up-tls", "1 MiB up, TLS 1.3, 8 connections", "up", 100, oha(HTTPS, MIB, 8, put)),
        Row("hosts", f"{hosts} routes, random hosts, plain", "hosts", 500, own("hosts", HTTP, *many)),
        Row("websocket", "WebSocket message and echo", "socket", 3000, own("websocket", HTTP)),
    ]
