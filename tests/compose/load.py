#!/usr/bin/env python3
"""A steady, bounded load of GETs through the load balancer, that counts what was lost.

    load.py PORT HOST STOP_FILE REPORT_FILE

Half of the workers keep their connection, half open one for each request. It ends when STOP_FILE
appears, after 90 seconds, or after 20,000 requests, and writes one JSON object to REPORT_FILE: requests,
lost, the first losses in words, and how often each pod and each router was seen.

A request is lost if it got no whole 200. The one exception is what every HTTP client does: a kept
connection that closes before the first byte of an answer is replaced and the request sent once more.
"""

import collections
import http.client
import json
import pathlib
import sys
import threading
import time

WORKERS = 8
PAUSE = 0.02
MOST_SECONDS = 90
MOST_REQUESTS = 20_000
TIMEOUT = 10


class Load:
    def __init__(self, port, host, stop_file):
        self.port, self.host, self.stop_file = port, host, stop_file
        self.end = time.monotonic() + MOST_SECONDS
        self.lock = threading.Lock()
        self.requests = 0
        self.replaced = 0
        self.losses = []
        self.pods = collections.Counter()
        self.routers = collections.Counter()

    def goes_on(self):
        if time.monotonic() >= self.end or self.stop_file.exists():
            return False
        with self.lock:
            if self.requests >= MOST_REQUESTS:
                return False
            self.requests += 1
        return True

    def work(self, keep):
        connection = None
        while self.goes_on():
            began = time.monotonic()
            try:
                connection = self.get(connection, keep)
            except (OSError, http.client.HTTPException, ValueError) as error:
                connection = None
                with self.lock:
                    took = time.monotonic() - began
                    self.losses.append(f"{type(error).__name__}: {error} after {took:.3f} s")
            time.sleep(PAUSE)

    def get(self, connection, keep):
        if connection is not None:
            try:
                return self.exchange(connection, keep)
            except (http.client.RemoteDisconnected, BrokenPipeError):
                with self.lock:
                    self.replaced += 1
        return self.exchange(http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT), keep)

    def exchange(self, connection, keep):
        headers = {"Host": self.host, "Connection": "keep-alive" if keep else "close"}
        connection.request("GET", "/", headers=headers)
        response = connection.getresponse()
        text = response.read().decode()
        if response.status != 200:
            raise ValueError(f"status {response.status}")
        facts = dict(line.split(": ", 1) for line in text.splitlines()[:4])
        with self.lock:
            self.pods[facts["pod"]] += 1
            self.routers[facts["remote"].rsplit(":", 1)[0]] += 1
        if keep and not response.will_close:
            return connection
        connection.close()
        return None


def main():
    port, host, stop_file, report = sys.argv[1:]
    load = Load(int(port), host, pathlib.Path(stop_file))
    workers = [
        threading.Thread(target=load.work, args=(index % 2 == 0,)) for index in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    text = json.dumps({
        "requests": load.requests,
        "lost": len(load.losses),
        "replaced": load.replaced,
        "losses": load.losses[:10],
        "pods": load.pods,
        "routers": load.routers,
    })
    pathlib.Path(report).write_text(text + "\n")


if __name__ == "__main__":
    main()
