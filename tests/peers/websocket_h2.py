#!/usr/bin/env python3
"""WebSockets on streams of HTTP/2 (RFC 8441), by PyPI's h2 and wsproto.

    tests/peers/websocket_h2.py HOST:PORT NAME PATH [CA]

Opens several of them on one connection, to PATH, where messages are echoed, and asks for / beside
them. With CA it speaks TLS and verifies NAME. It prints a line for each thing it did: what, and how it
ended.
"""

import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import wsproto.connection
import wsproto.events
import wsproto.extensions

PATIENCE = 20
SIZES = (0, 1, 125, 126, 65535, 65536, 1_000_000)


class Connection:
    """One connection of HTTP/2 and what came on its streams."""

    def __init__(self, target, name, ca):
        host, port = target.rsplit(":", 1)
        self.name, self.scheme = name, "http" if ca is None else "https"
        self.socket = socket.create_connection((host, int(port)), PATIENCE)
        if ca is not None:
            context = ssl.create_default_context(cafile=ca)
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(self.socket, server_hostname=name)
            assert self.socket.selected_alpn_protocol() == "h2"
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.http.initiate_connection()
        self.heads, self.data, self.ended, self.resets = {}, {}, set(), {}
        self.flush()

    def flush(self):
        self.socket.sendall(self.http.data_to_send())

    def read(self):
        data = self.socket.recv(65536)
        assert data, "the connection ended"
        for event in self.http.receive_data(data):
            stream = getattr(event, "stream_id", None)
            if isinstance(event, h2.events.ResponseReceived):
                self.heads[stream] = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                self.data.setdefault(stream, bytearray()).extend(event.data)
                self.http.acknowledge_received_data(event.flow_controlled_length, stream)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(stream)
            elif isinstance(event, h2.events.StreamReset):
                self.resets[stream] = int(event.error_code)
        self.flush()

    def until(self, holds):
        while not holds():
            self.read()

    def request(self, method, path, fields=(), end=True):
        stream = self.http.get_next_available_stream_id()
        head = [(":method", method), (":scheme", self.scheme), (":authority", self.name)]
        self.http.send_headers(stream, [*head, (":path", path), *fields], end_stream=end)
        self.flush()
        return stream

    def send(self, stream, data):
        while data:
            room = self.http.local_flow_control_window(stream)
            room = min(room, self.http.max_outbound_frame_size, len(data))
            if room == 0:
                self.read()
                continue
            self.http.send_data(stream, data[:room])
            data = data[room:]
            self.flush()


class WebSocket:
    """One of them."""

    def __init__(self, connection, path, compressed=False):
        self.connection = connection
        fields = [(":protocol", "websocket"), ("sec-websocket-version", "13"), ("origin", "null")]
        extension = wsproto.extensions.PerMessageDeflate()
        if compressed:
            fields.append(("sec-websocket-extensions", f"permessage-deflate; {extension.offer()}"))
        pseudo, rest = fields[:1], fields[1:]
        self.stream = connection.request("CONNECT", path, [*pseudo, *rest], end=False)
        connection.until(lambda: self.stream in connection.heads)
        head = connection.heads[self.stream]
        assert head[":status"] == "200", head
        assert "sec-websocket-accept" not in head, head
        agreed = head.get("sec-websocket-extensions")
        self.compressed = agreed is not None
        if agreed:
            extension.finalize(agreed)
        kind = wsproto.connection.ConnectionType.CLIENT
        self.frames = wsproto.connection.Connection(kind, [extension] if agreed else [])
        self.events = []

    def send(self, event):
        self.connection.send(self.stream, self.frames.send(event))

    def next(self):
        """The next event: a whole message, or a control frame."""
        parts = []
        while True:
            while not self.events:
                data = self.connection.data.setdefault(self.stream, bytearray())
                ended = lambda: self.stream in self.connection.ended  # noqa: E731
                self.connection.until(lambda: data or ended())
                assert data, "the stream ended"
                self.frames.receive_data(bytes(data))
                data.clear()
                self.events.extend(self.frames.events())
            event = self.events.pop(0)
            if not isinstance(event, wsproto.events.Message):
                return event
            parts.append(event.data)
            if event.message_finished:
                return type(parts[0])().join(parts)


def everything(target, name, path, ca=None):
    """Pairs of what was done and how it ended."""
    connection = Connection(target, name, ca)
    allowed = h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL
    connection.until(lambda: connection.http.remote_settings.get(allowed) == 1)
    yield "extended CONNECT", "allowed"
    sockets = [WebSocket(connection, path, compressed=nth == 2) for nth in range(4)]
    yield "opened", [ws.stream for ws in sockets]
    for size in SIZES:
        text, data = "ä" * (size // 2), bytes(nth % 251 for nth in range(size))
        outcomes = []
        for ws in sockets:
            ws.send(wsproto.events.TextMessage(text))
            outcomes.append(ws.next() == text)
            ws.send(wsproto.events.BytesMessage(data))
            outcomes.append(bytes(ws.next()) == data)
        yield f"{size} bytes", all(outcomes)
    for ws in sockets:
        ws.send(wsproto.events.TextMessage(str(ws.stream)))
    yield "each has its own", [ws.next() for ws in reversed(sockets)]
    first = sockets[0]
    for nth in range(10):
        last = nth == 9
        first.send(wsproto.events.TextMessage(f"{nth} ", message_finished=last))
    yield "in fragments", first.next()
    first.send(wsproto.events.Ping(b"are you there"))
    yield "pong", bytes(first.next().payload)
    stream = connection.request("GET", "/")
    connection.until(lambda: stream in connection.ended)
    yield "a request beside them", connection.heads[stream][":status"]
    first.send(wsproto.events.CloseConnection(1000, "done"))
    yield "closed", first.next().code
    connection.until(lambda: first.stream in connection.ended)
    yield "and its stream", "ended"
    sockets[1].send(wsproto.events.TextMessage("x"))
    yield "the others go on", sockets[1].next()
    connection.http.reset_stream(sockets[1].stream, 8)
    sockets[3].send(wsproto.events.TextMessage("y"))
    yield "after a reset as well", sockets[3].next()
    for protocol in ("webtransport", "connect-udp"):
        stream = connection.request("CONNECT", path, [(":protocol", protocol)], end=False)
        connection.until(lambda: stream in connection.heads)
        yield protocol, connection.heads[stream][":status"]
    yield "reset by the other side", connection.resets


if __name__ == "__main__":
    if len(sys.argv) in (4, 5):
        for what, outcome in everything(*sys.argv[1:]):
            print(what, outcome, sep=": ", flush=True)
    else:
        sys.exit(__doc__.strip())
