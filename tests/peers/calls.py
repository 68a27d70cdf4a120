#!/usr/bin/env python3
"""Both ends of gRPC, by PyPI's grpcio, without generated code: messages are bytes.

    tests/peers/calls.py serve
    tests/peers/calls.py check HOST:PORT [CA NAME]

serve speaks HTTP/2 without TLS; it prints its port and ends with its standard input. check makes
one call of every kind and prints a line for each: what was asked, and how it ended. With CA it speaks
TLS, verifies NAME and asks for it.
"""

import concurrent.futures
import sys
import threading

import grpc

SERVICE = "wharf.peers.Echo"
LARGE = 3_000_000
PATIENCE = 20

asleep, cancelled = threading.Event(), threading.Event()


def unary(request, context):
    context.set_trailing_metadata((("x-length", str(len(request))),))
    return request


def gather(requests, context):
    return b",".join(requests)


def scatter(request, context):
    for nth in range(int(request)):
        yield b"%d" % nth


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
    "Converse": grpc.stream_stream_rpc_method_handler(converse),
    "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    "BreakOff": grpc.unary_stream_rpc_method_handler(break_off),
    "Sleep": grpc.unary_unary_rpc_method_handler(sleep),
    "IsAsleep": heard(asleep),
    "WasCancelled": heard(cancelled),
}


def serve():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, METHODS),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
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
    large = bytes(range(250)) * (LARGE // 250)
    yield "large message", ask("Unary")(large) == large
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

    yield "deadline", failing(lambda: ask("Sleep")(b"", timeout=1)).split(":")[0]
    yield "the server heard of the deadline", ask("WasCancelled")(b"")
    ask("IsAsleep")(b"")
    call = ask("Sleep").future(b"")
    ask("IsAsleep")(b"")
    yield "cancelled while it ran", call.cancel() and call.cancelled()
    yield "the server heard of the cancellation", ask("WasCancelled")(b"")
    calls = [ask("Unary").future(b"%d" % nth) for nth in range(50)]
    yield "fifty at once", [call.result() for call in calls] == [b"%d" % nth for nth in range(50)]


def check(target, ca=None, name=None):
    options = [("grpc.max_receive_message_length", -1)]
    if ca is None:
        channel = grpc.insecure_channel(target, options)
    else:
        with open(ca, "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        options.append(("grpc.ssl_target_name_override", name))
        options.append(("grpc.default_authority", name))
        channel = grpc.secure_channel(target, credentials, options)
    with channel:
        for asked, outcome in one_of_each(channel):
            print(asked, outcome, sep=": ", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    elif len(sys.argv) in (3, 5) and sys.argv[1] == "check":
        check(*sys.argv[2:])
    else:
        sys.exit(__doc__.strip())
