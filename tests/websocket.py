#!/usr/bin/env python3
"""Says something through a WebSocket and prints what comes back. Python's standard library only.

    tests/websocket.py URL TEXT [HOST[:PORT]]

URL is ws://HOST[:PORT]/PATH; the third argument is where to connect, if that is another place.
"""

import base64
import hashlib
import os
import socket
import sys
import urllib.parse

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE = 1, 8


def frame(opcode, payload):
    """A masked frame of one part; for payloads of less than 126 bytes."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked


def read_frame(stream):
    opcode, length = stream.read(2)
    return opcode & 15, stream.read(length & 127)


def main(url, text, place=None):
    parts = urllib.parse.urlsplit(url)
    host, _, port = (place or parts.netloc).partition(":")
    key = base64.b64encode(os.urandom(16))
    with socket.create_connection((host, int(port or 80)), timeout=10) as connection:
        stream = connection.makefile("rb")
        connection.sendall(
            f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key.decode()}\r\n\r\n".encode()
        )
        status = stream.readline().decode().strip()
        headers = {}
        while (line := stream.readline().decode().strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
        if " 101 " not in status or headers.get("sec-websocket-accept") != accept:
            sys.exit(f"no WebSocket: {status}")
        connection.sendall(frame(TEXT, text.encode()))
        opcode, answer = read_frame(stream)
        connection.sendall(frame(CLOSE, b""))
        closing, _ = read_frame(stream)
        if opcode != TEXT or closing != CLOSE:
            sys.exit(f"unexpected frames: {opcode}, {closing}")
        print(f"{status}\n{answer.decode()}")


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 4:
        sys.exit(__doc__.strip())
    main(*sys.argv[1:])
