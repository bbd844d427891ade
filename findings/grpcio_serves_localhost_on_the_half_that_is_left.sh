#!/usr/bin/env bash
# grpcio: a server of `localhost:PORT` starts where somebody has that port of 127.0.0.1 or of ::1, and serves on the other.
#
# `localhost` is two addresses to gRPC, also where /etc/hosts has one. `add_insecure_port` raises where a port cannot be
# had, so one that returns seems to be had. It returns the port where one of the two could be bound, and says nothing of
# the other. A call to the same `localhost:PORT` goes to ::1 first: with another server there, that one answers it, and the
# server whose start went well is never asked. With the address in digits the port is refused, as one would think.
#
# Seen with grpcio 1.85.3 on CPython 3.11 and Linux with IPv6, `grpc.so_reuseport` off: with another server on ::1 a call to
# localhost is answered by that one; with another on 127.0.0.1 a call to 127.0.0.1 is. Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check grpcio==1.85.3
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import grpc

METHOD = "/any.Service/Who"
ALONE = (("grpc.so_reuseport", 0),)


@asynccontextmanager
async def serving(name: bytes, address: str) -> AsyncIterator[int]:
    """Serve who it is; yield the port that gRPC says it has."""

    async def who(_: bytes, __: grpc.aio.ServicerContext) -> bytes:
        return name

    server = grpc.aio.server(options=ALONE)
    handlers = {"Who": grpc.unary_unary_rpc_method_handler(who)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("any.Service", handlers),))
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


async def answers_at(address: str) -> str:
    async with grpc.aio.insecure_channel(address, options=(("grpc.enable_http_proxy", 0),)) as channel:
        reply: bytes = await channel.unary_unary(METHOD)(b"", wait_for_ready=True)
        return reply.decode()


async def seen(taken: str) -> dict[str, str]:
    """Return who answers where, with another server on one of the two addresses."""
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(serving(b"the other", f"{taken}:0"))
        told = await stack.enter_async_context(serving(b"ours", f"localhost:{port}"))
        assert told == port
        return {host: await answers_at(f"{host}:{port}") for host in ("localhost", "127.0.0.1", "[::1]")}


async def is_refused(taken: str) -> bool:
    async with serving(b"the other", f"{taken}:0") as port:
        server = grpc.aio.server(options=ALONE)
        try:
            server.add_insecure_port(f"{taken}:{port}")
        except RuntimeError:
            return True
        return False


expected = {
    "[::1]": {"localhost": "the other", "127.0.0.1": "ours", "[::1]": "the other"},
    "127.0.0.1": {"localhost": "ours", "127.0.0.1": "the other", "[::1]": "ours"},
}
found = {taken: asyncio.run(seen(taken)) for taken in expected}
for taken, answers in found.items():
    print(f"another server on {taken:9}", *(f"{host}: {who}" for host, who in answers.items()), sep="   ")
assert found == expected, "it has changed"
assert all(asyncio.run(is_refused(taken)) for taken in expected)
PYTHON
