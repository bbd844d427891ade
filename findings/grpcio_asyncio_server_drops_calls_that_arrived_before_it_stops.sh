#!/usr/bin/env bash
# grpcio 1.85, asyncio: a server that stops with a grace drops the calls that have arrived and that it has not handed over yet.
#
# `stop(grace)` is documented to take no new calls and to let those go on that are being served, so one would think that a call which
# had reached the server long before has the grace to end, and that one which comes too late is UNAVAILABLE, which clients try again.
# grpc.aio hands over one call at each turn of its event loop, and the others queue in gRPC's core. `stop` clears that queue: they end
# with a bare CANCELLED, which no retry policy of a client covers, for clients take it for their own doing. Under load most of a call's
# time is that queue, so a rollout loses nearly all that is under way, in spite of its grace. A server that is to lose none has to take
# up what has arrived, for some turns of its loop, before it says stop.
#
# Seen with grpcio 1.85.3 on CPython 3.11 and Linux: 200 calls are on their way to a server, which is told `stop(60)` by the first of
# them that it serves: 2 are OK, 198 CANCELLED without a word. Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check grpcio==1.85.3
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import subprocess
import sys

import grpc

CALLS, GRACE = 200, 60
CLIENT = f"""
import sys
from collections import Counter
import grpc
with grpc.insecure_channel(sys.argv[1]) as channel:
    grpc.channel_ready_future(channel).result()
    call = channel.unary_unary("/any.Service/Any")
    calls = [call.future(b"") for _ in range({CALLS})]
    print("sent", flush=True)
    print(*(f"{{code.name}}={{count}}" for code, count in Counter(one.code() for one in calls).items()))
"""


def call_all(port: int) -> subprocess.Popen[str]:
    """Begin calls by a process of its own, and return once they are on their way."""
    client = subprocess.Popen([sys.executable, "-c", CLIENT, f"127.0.0.1:{port}"], stdout=subprocess.PIPE, text=True)
    client.stdout.readline()
    return client


def codes(client: subprocess.Popen[str]) -> dict[str, int]:
    """Return how many calls ended with each code."""
    with client:
        return {code: int(count) for code, count in (pair.split("=") for pair in client.stdout.read().split())}


async def main() -> dict[str, int]:
    first = asyncio.Event()

    async def serve(request: bytes, _: grpc.aio.ServicerContext) -> bytes:
        first.set()
        return request

    server = grpc.aio.server()
    handlers = {"Any": grpc.unary_unary_rpc_method_handler(serve)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("any.Service", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    client = call_all(port)  # the event loop does not turn meanwhile, as under load
    await first.wait()
    await server.stop(GRACE)
    return codes(client)


seen = asyncio.run(main())
print(seen)
assert seen["CANCELLED"] >= 150 and sum(seen.values()) == CALLS, seen
PYTHON
