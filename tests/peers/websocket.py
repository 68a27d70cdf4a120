#!/usr/bin/env python3
"""Both ends of a WebSocket, by PyPI's kosoku (the cases of the Autobahn test suite) and websockets.

    tests/peers/websocket.py serve
    tests/peers/websocket.py check URL [CASE...]

serve echoes messages of any size, with compression if the client offers it; it prints its port and
ends with its standard input. check runs cases against URL, all of them unless some are named (`*`
is allowed), and prints a line for each: its number, how the messages went, how the closing went.
"""

import asyncio
import sys


async def serve():
    from websockets.asyncio.server import serve as listen

    async def echo(connection):
        async for message in connection:
            await connection.send(message)

    async with listen(echo, "127.0.0.1", 0, max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def check(url, cases):
    from kosoku import FailureError, run_fuzzingclient

    try:
        results = await run_fuzzingclient(url, cases or None, concurrency=8)
    except FailureError as failure:
        results = failure.results
    for result in results:
        print(result.case_id, result.behavior.value, result.behavior_close.value, sep=", ")


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    elif len(sys.argv) > 2 and sys.argv[1] == "check":
        asyncio.run(check(sys.argv[2], sys.argv[3:]))
    else:
        sys.exit(__doc__.strip())
