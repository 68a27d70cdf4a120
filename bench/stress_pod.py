"""A pod that writes down what it executes, and a client that sends each id once; for `bench/stress once`.

    python3 bench/stress_pod.py pod --listen 127.78.0.1:8080 --record FILE --drop 0.002
    python3 bench/stress_pod.py client --address A --port P --host H --count N --connections C

The pod appends the id of every POST to its file before it answers, so the file is right even when it is
killed in between; a share of the requests is executed and then not answered at all. The client never
repeats anything: it prints how many were answered with 200, with what else, and not at all, and lists the
ids answered with 200 in --answered.
"""

import argparse
import asyncio
import json
import os
import random
from collections import Counter

STALL_SECONDS = 60


class Pod(asyncio.Protocol):
    """HTTP/1.1 with kept connections; requests have a length and no pipelining."""

    def __init__(self, record, drop):
        self.record, self.drop, self.data, self.transport = record, drop, b"", None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        if not found:
            return
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if len(body) < length:
            return
        self.data = b""
        if head.startswith(b"POST"):
            os.write(self.record, body + b"\n")
            if random.random() < self.drop:
                self.transport.abort()
                return
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")


async def pod(options):
    record = os.open(options.record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    address, _, port = options.listen.rpartition(":")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Pod(record, options.drop), address, int(port), backlog=1024)
    await server.serve_forever()


async def exchange(reader, writer, host, body):
    """The status, and whether the connection is kept."""
    head = f"POST /once HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    lines = answer.lower().split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
    await reader.readexactly(length)
    return int(answer.split()[1]), b"connection: close" not in lines


async def worker(options, ids, outcomes, answered):
    connection = None
    for number in ids:
        body = str(number).encode()
        try:
            if connection is None:
                connection = await asyncio.open_connection(options.address, options.port)
            one = exchange(*connection, options.host, body)
            status, kept = await asyncio.wait_for(one, STALL_SECONDS)
            outcomes[str(status)] += 1
            if status == 200:
                answered.write(f"{number}\n")
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
            outcomes[type(error).__name__] += 1
            kept = False
        if not kept and connection:
            connection[1].close()
            connection = None


async def client(options):
    outcomes, ids = Counter(), iter(range(options.count))
    with open(options.answered, "w") as answered:
        tasks = [worker(options, ids, outcomes, answered) for _ in range(options.connections)]
        await asyncio.gather(*tasks)
    print(json.dumps(outcomes), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=("pod", "client"))
    parser.add_argument("--listen")
    parser.add_argument("--record")
    parser.add_argument("--drop", type=float, default=0.0)
    parser.add_argument("--address")
    parser.add_argument("--port", type=int)
    parser.add_argument("--host")
    parser.add_argument("--count", type=int)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--answered")
    options = parser.parse_args()
    asyncio.run(globals()[options.kind](options))


if __name__ == "__main__":
    main()
