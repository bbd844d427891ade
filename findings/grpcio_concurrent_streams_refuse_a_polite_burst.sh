#!/usr/bin/env bash
# grpcio 1.85: a server with `grpc.max_concurrent_streams` refuses calls of a client that keeps to it.
#
# A client of gRPC's own holds calls back until the server's limit lets them go, so a burst of calls on one channel
# should all succeed, some of them later. With the limit set on a grpc.aio server most of a burst end as UNAVAILABLE
# ("stream refused"), also on a connection that is warm: calls that have ended, and are not cleared away yet, are counted
# among those at once. `grpc.http.overload_protection` 0 keeps the limit and refuses none.
#
# Seen with grpcio 1.85.1 on CPython 3.11 and Linux: of 4000 calls at a limit of 1000 some hundred to 2700 refused by default,
# none with the option. Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check grpcio==1.85.1
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
from collections import Counter

import grpc

LIMIT, BURST, METHOD = 1000, 4000, "/any.Service/Echo"


async def echo(request: bytes, _: grpc.aio.ServicerContext) -> bytes:
    return request


async def outcomes(*options: tuple[str, int]) -> Counter[str]:
    """Return how many calls of a burst ended in which way, on a connection that has served one already."""
    server = grpc.aio.server(options=(("grpc.max_concurrent_streams", LIMIT), *options))
    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("any.Service", handlers),))
    # Else pending calls are dropped for a reason of their own.
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(METHOD)
        await call(b"first")
        ended = await asyncio.gather(*(call(b"x") for _ in range(BURST)), return_exceptions=True)
    await server.stop(None)
    return Counter(one.code().name if isinstance(one, grpc.aio.AioRpcError) else "OK" for one in ended)


async def main() -> None:
    pending = (("grpc.server.max_pending_requests", 20_000), ("grpc.server.max_pending_requests_hard_limit", 30_000))
    by_default = await outcomes(*pending)
    switched_off = await outcomes(*pending, ("grpc.http.overload_protection", 0))
    print("by default:", dict(by_default))
    print("grpc.http.overload_protection 0:", dict(switched_off))
    assert by_default["UNAVAILABLE"] > 100, "no longer refused by default"
    assert switched_off == {"OK": BURST}, "refused although protection is off"


asyncio.run(main())
PYTHON
