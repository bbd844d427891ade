#!/usr/bin/env bash
# grpcio 1.85: a server refuses metadata of more than 8 KiB by lot, the more often the nearer it is to 16.
#
# A limit refuses what is over it and takes the rest, so one would think that a call whose metadata is too large fails each time,
# and that one which succeeds is below the limit. gRPC's core has two limits. Below 8 KiB all calls are taken, above 16 KiB none,
# and between them a call is refused with a chance that grows evenly from 0 to 1, as RESOURCE_EXHAUSTED, the code of a rate limit.
# So a token that gets longer, as those do that list their owner's roles, fails now and then at first, and the next try succeeds.
# `grpc.max_metadata_size` alone moves both limits and leaves the space between them. With `grpc.absolute_max_metadata_size` at the
# same number there is one limit.
#
# Seen with grpcio 1.85.3 on CPython 3.11 and Linux, 400 calls each with a token of 7,500, 10,000, 12,000 and 14,000 bytes: some 0,
# 28, 53 and 78 % refused, "received metadata size exceeds soft limit"; with both options 16384 none. Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check grpcio==1.85.3
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio

import grpc

CALLS = 400
SIZES = (7_500, 10_000, 12_000, 14_000)  # of a token, in bytes
ONE_LIMIT = (("grpc.max_metadata_size", 16_384), ("grpc.absolute_max_metadata_size", 16_384))


async def echo(request: bytes, _: grpc.aio.ServicerContext) -> bytes:
    return request


async def is_refused(call: grpc.aio.UnaryUnaryMultiCallable, size: int) -> bool:
    try:
        await call(b"", metadata=(("token", "x" * size),))
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and "exceeds soft limit" in error.details(), error
        return True
    return False


async def refused(options: tuple[tuple[str, int], ...]) -> list[float]:
    """Return which share of calls a server refuses, for each size."""
    server = grpc.aio.server(options=options)
    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("any.Service", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    shares = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/any.Service/Echo")
        for size in SIZES:
            outcomes = await asyncio.gather(*(is_refused(call, size) for _ in range(CALLS)))
            shares.append(sum(outcomes) / CALLS)
    await server.stop(None)
    print(options, ", ".join(f"{size} bytes: {share:.0%}" for size, share in zip(SIZES, shares, strict=True)))
    return shares


async def main() -> None:
    first, *others = await refused(())
    assert first == 0 and all(0.1 < share < 0.95 for share in others) and others == sorted(others), others
    assert await refused(ONE_LIMIT) == [0, 0, 0, 0]


asyncio.run(main())
PYTHON
