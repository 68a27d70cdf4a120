#!/usr/bin/env python3
"""Both ends of gRPC, by PyPI's grpcio, without generated code: messages are bytes.

    tests/peers/calls.py serve [CERTIFICATE KEY]
    tests/peers/calls.py check HOST:PORT [NAME [CA]]

serve speaks HTTP/2, over TLS with a certificate; it prints its port and ends with its standard input.
check makes one call of every kind and prints a line for each: what was asked, and how it ended. It
asks for NAME; with CA it speaks TLS and verifies NAME.
"""

import concurrent.futures
import pathlib
import sys
import threading
import time

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

SERVICE = "wharf.peers.Echo"
LARGE = 4 * 1024 * 1024 - 64
PATIENCE = 20
PAUSE = 0.5

asleep, cancelled = threading.Event(), threading.Event()


def unary(request, context):
    """Also gives back the bytes that came as metadata, in front of the message and behind it."""
    given = dict(context.invocation_metadata()).get("x-bytes-bin", b"")
    context.send_initial_metadata((("x-first-bin", given),))
    context.set_trailing_metadata((("x-length", str(len(request))), ("x-last-bin", given[::-1])))
    return request


def gather(requests, context):
    return b",".join(requests)


def scatter(request, context):
    for nth in range(int(request)):
        yield b"%d" % nth


def pour(request, context):
    """Large messages, one after the other."""
    for nth in range(int(request)):
        yield bytes([nth]) * LARGE


def converse(requests, context):
    for request in requests:
        yield request[::-1]


def refuse(request, context):
    """No message before the end: the answer is trailers alone."""
    context.set_trailing_metadata((("x-why", "asked-for"), ("x-why-bin", b"\x00\xff")))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked: 100 %\n")


def break_off(request, context):
    yield b"one"
    context.abort(grpc.StatusCode.DATA_LOSS, "after one")


def sleep(request, context):
    """Never answers; learns that the client has gone."""
    gone = threading.Event()
    context.add_callback(gone.set)
    asleep.set()
    if gone.wait(PATIENCE):
        cancelled.set()
    return b"too late"


def heard(event):
    """Whether the event came, which is forgotten then."""

    def answer(request, context):
        seen = event.wait(PATIENCE)
        event.clear()
        return b"yes" if seen else b"no"

    return grpc.unary_unary_rpc_method_handler(answer)


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Gather": grpc.stream_unary_rpc_method_handler(gather),
    "Scatter": grpc.unary_stream_rpc_method_handler(scatter),
    "Pour": grpc.unary_stream_rpc_method_handler(pour),
    "Converse": grpc.stream_stream_rpc_method_handler(converse),
    "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    "BreakOff": grpc.unary_stream_rpc_method_handler(break_off),
    "Sleep": grpc.unary_unary_rpc_method_handler(sleep),
    "IsAsleep": heard(asleep),
    "WasCancelled": heard(cancelled),
}


def serve(certificate=None, key=None):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, METHODS),))
    told = health.HealthServicer()
    told.set(SERVICE, health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(told, server)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME), server)
    if certificate is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        pair = [pathlib.Path(path).read_bytes() for path in (key, certificate)]
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    print(port, flush=True)
    server.start()
    sys.stdin.read()
    server.stop(None)


def ended(error):
    """What a client is told of a call that failed."""
    return f"{error.code().name}: {error.details()!r}"


def failing(call):
    try:
        return f"answered {call()!r}"
    except grpc.RpcError as error:
        return ended(error)


def one_of_each(channel):
    """Pairs of what was asked and how it ended."""
    path = f"/{SERVICE}/".__add__
    ask = lambda name: channel.unary_unary(path(name))  # noqa: E731
    stream = lambda name: channel.unary_stream(path(name))  # noqa: E731

    message, call = ask("Unary").with_call(b"hello", metadata=(("x-mark", "1"),))
    yield "unary", (message, dict(call.trailing_metadata()).get("x-length"))
    yield "empty message", ask("Unary")(b"")
    given = bytes(range(256))
    _, call = ask("Unary").with_call(b"", metadata=(("x-bytes-bin", given),))
    first, last = dict(call.initial_metadata()), dict(call.trailing_metadata())
    yield "bytes as metadata", (first["x-first-bin"] == given, last["x-last-bin"] == given[::-1])
    large = bytes(nth % 251 for nth in range(LARGE))
    yield "large message", ask("Unary")(large) == large
    poured = [message == bytes([nth]) * LARGE for nth, message in enumerate(stream("Pour")(b"4"))]
    yield "large messages in a row", poured
    held = stream("Pour")(b"8")
    time.sleep(PAUSE)  # The windows are full by then, or at least some of them.
    yield "large messages that wait", sum(len(message) == LARGE for message in held)
    parts = channel.stream_unary(path("Gather"))(bytes([nth]) * 500_000 for nth in range(8))
    yield "large client stream", len(parts)
    dense = ask("Unary")(b"a" * 10_000, compression=grpc.Compression.Gzip)
    yield "compressed message", dense == b"a" * 10_000

    words = (word for word in (b"a", b"b", b"", b"c"))
    yield "client stream", channel.stream_unary(path("Gather"))(words)
    yield "server stream", b"".join(stream("Scatter")(b"12"))
    yield "long server stream", sum(1 for _ in stream("Scatter")(b"2000"))

    # Each message is sent when the answer to the one before has come.
    turns, said = threading.Semaphore(1), []

    def speak():
        for word in (b"abc", b"def", b"ghi"):
            turns.acquire()
            yield word

    for answer in channel.stream_stream(path("Converse"))(speak()):
        said.append(answer)
        turns.release()
    yield "both ways in turn", said

    try:
        ask("Refuse")(b"")
    except grpc.RpcError as error:
        why = sorted((k, v) for k, v in error.trailing_metadata() if k.startswith("x-why"))
        yield "trailers only", (ended(error), why)
    broken, first = stream("BreakOff")(b""), None
    try:
        first = next(broken)
        next(broken)
    except grpc.RpcError as error:
        yield "message, then error", (first, ended(error))
    yield "unknown method", failing(lambda: ask("Missing")(b""))

    stub = health_pb2_grpc.HealthStub(channel)
    for name in ("", SERVICE, "nobody"):
        asked = health_pb2.HealthCheckRequest(service=name)
        yield f"health of {name!r}", failing(lambda: stub.Check(asked).status)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    yield "health as a stream", next(watch).status
    yield "which is cancelled", watch.cancel()
    yield "reflection", sorted(ProtoReflectionDescriptorDatabase(channel).get_services())

    yield "deadline", failing(lambda: ask("Sleep")(b"", timeout=1)).split(":")[0]
    yield "the server heard of the deadline", ask("WasCancelled")(b"")
    ask("IsAsleep")(b"")
    call = ask("Sleep").future(b"")
    ask("IsAsleep")(b"")
    yield "cancelled while it ran", call.cancel() and call.cancelled()
    yield "the server heard of the cancellation", ask("WasCancelled")(b"")
    calls = [ask("Unary").future(b"%d" % nth) for nth in range(50)]
    yield "fifty at once", [call.result() for call in calls] == [b"%d" % nth for nth in range(50)]


def check(target, name=None, ca=None):
    options = [("grpc.max_receive_message_length", -1)]
    if name is not None:
        options.append(("grpc.default_authority", name))
    if ca is None:
        channel = grpc.insecure_channel(target, options)
    else:
        credentials = grpc.ssl_channel_credentials(pathlib.Path(ca).read_bytes())
        options.append(("grpc.ssl_target_name_override", name))
        channel = grpc.secure_channel(target, credentials, options)
    with channel:
        for asked, outcome in one_of_each(channel):
            print(asked, outcome, sep=": ", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"] and len(sys.argv) in (2, 4):
        serve(*sys.argv[2:])
    elif sys.argv[1:2] == ["check"] and len(sys.argv) in (3, 4, 5):
        check(*sys.argv[2:])
    else:
        sys.exit(__doc__.strip())
