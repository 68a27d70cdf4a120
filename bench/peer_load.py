"""Clients that oha is not, each a process of its own so that it can be pinned to a core.

    python3 bench/peer_load.py handshakes|hosts|websocket|idle --address A --port P ...

Started by `bench/peers` and `bench/stress`; prints one line of JSON: how many exchanges were good, how many
were not, and the median and 99th percentile in seconds. Only Python's standard library is needed.

  handshakes  each exchange is a new connection, a full TLS 1.3 handshake (nothing is resumed), one request
              and the end of the connection. oha resumes sessions, which measures something else.
  hosts       kept connections, each request for another one of --hosts hosts. oha looks each host up.
  websocket   kept WebSockets, each exchange is a masked message of --size bytes and its echo.
  idle        opens --count connections with one request on each, says so, and holds them until its input
              ends.
"""

import argparse
import base64
import json
import os
import random
import resource
import selectors
import socket
import ssl
import sys
import threading
import time

import common

TIMEOUT_SECONDS = 30


def raise_descriptor_limit(wanted=200_000):
    """As far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (wanted, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit, soft), max(limit, hard)))
            return
        except (ValueError, OSError):
            continue


def tls_context():
    """TLS 1.3, no check of the certificate; sessions are not resumed unless one is passed in."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def connect(options, context=None):
    connection = socket.create_connection((options.address, options.port), timeout=TIMEOUT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(connection, server_hostname=options.host) if context else connection


def request(host, path="/", more=""):
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode()


def read_head(connection):
    """The response head and what came behind it."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            raise OSError("closed within the head")
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def content_length(head):
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise OSError("no content-length")


def exchange(connection, message):
    """One request with a length on a kept connection; False when the status is not 200."""
    connection.sendall(message)
    head, rest = read_head(connection)
    left = content_length(head) - len(rest)
    while left > 0:
        part = connection.recv(65536)
        if not part:
            raise OSError("closed within the body")
        left -= len(part)
    return head.startswith(b"HTTP/1.1 200")


def report(latencies, errors, **more):
    latencies = latencies or [0.0]
    figures = {"p50": common.percentile(latencies, 0.5), "p99": common.percentile(latencies, 0.99)}
    print(json.dumps({"done": len(latencies), "errors": errors, **figures, **more}), flush=True)


def handshakes(options):
    context, lock = tls_context(), threading.Lock()
    left, latencies, errors = [options.count], [], [0]
    message = request(options.host, more="Connection: close\r\n")

    def worker():
        while True:
            with lock:
                if left[0] == 0:
                    return
                left[0] -= 1
            began = time.perf_counter()
            try:
                with connect(options, context) as connection:
                    good = exchange(connection, message) and not connection.session_reused
            except OSError:
                good = False
            took = time.perf_counter() - began
            with lock:
                latencies.append(took) if good else errors.__setitem__(0, errors[0] + 1)

    threads = [threading.Thread(target=worker) for _ in range(options.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report(latencies, errors[0])


def closed_loop(sockets, count, message, complete):
    """Each socket sends the next message when `complete(data)` says that the answer is here.

    `complete` returns None for more, else whether the answer was good. Returns latencies and errors.
    """
    poll, latencies, errors = selectors.DefaultSelector(), [], 0
    sent = min(count, len(sockets))
    for connection in sockets[:sent]:
        connection.setblocking(False)
        state = [connection, b"", time.perf_counter()]
        poll.register(connection, selectors.EVENT_READ, state)
        connection.send(message())
    open_count = sent
    while open_count:
        ready = poll.select(TIMEOUT_SECONDS)
        if not ready:
            return latencies, errors + open_count
        for key, _ in ready:
            state = key.data
            part = state[0].recv(65536)
            state[1] += part
            good = complete(state[1]) if part else False
            if good is None:
                continue
            now = time.perf_counter()
            if good:
                latencies.append(now - state[2])
            else:
                errors += 1
            if sent == count or not part:
                poll.unregister(state[0])
                open_count -= 1
                continue
            sent += 1
            state[1], state[2] = b"", now
            state[0].send(message())
    return latencies, errors


def hosts(options):
    chosen = random.Random(7)
    messages = [request(options.host.replace("{}", str(n))) for n in range(options.hosts)]

    def complete(data):
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found or len(rest) < content_length(head):
            return None
        return data.startswith(b"HTTP/1.1 200")

    sockets = [connect(options) for _ in range(options.connections)]
    report(*closed_loop(sockets, options.count, lambda: chosen.choice(messages), complete))


def websocket(options):
    key = base64.b64encode(os.urandom(16)).decode()
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    upgrade += f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    sockets = []
    for _ in range(options.connections):
        connection = connect(options)
        connection.sendall(request(options.host, "/echo", upgrade))
        head, rest = read_head(connection)
        if not head.startswith(b"HTTP/1.1 101") or rest:
            sys.exit(f"no WebSocket: {head!r}")
        sockets.append(connection)
    payload = b"m" * options.size
    mask = b"\x01\x02\x03\x04"
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    frame = bytes([0x82, 0x80 | options.size]) + mask + masked
    echo = bytes([0x82, options.size]) + payload
    complete = lambda data: None if len(data) < len(echo) else data == echo  # noqa: E731
    report(*closed_loop(sockets, options.count, lambda: frame, complete))


def idle(options):
    raise_descriptor_limit()
    context = tls_context() if options.tls else None
    message, held, errors = request(options.host), [], 0
    for _ in range(options.count):
        try:
            connection = connect(options, context)
            held.append(connection)
            errors += not exchange(connection, message)
        except OSError:
            errors += 1
    print(json.dumps({"done": len(held), "errors": errors}), flush=True)
    sys.stdin.readline()
    alive = 0
    for connection in held:
        connection.setblocking(False)
        try:
            # Tickets of TLS 1.3 may wait to be read: only an end is an end.
            alive += connection.recv(1) != b""
        except (BlockingIOError, ssl.SSLWantReadError):
            alive += 1
        except OSError:
            pass
    print(json.dumps({"alive": alive}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=("handshakes", "hosts", "websocket", "idle"))
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="bench.test", help="for `hosts`, {} becomes a number")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=64, help="of a WebSocket message, at most 125")
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    globals()[options.kind](options)


if __name__ == "__main__":
    main()
