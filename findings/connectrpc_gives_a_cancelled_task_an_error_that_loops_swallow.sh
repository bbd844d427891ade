#!/usr/bin/env bash
# connectrpc 0.13, Python: a task that is cancelled in a call gets a ConnectError in place of its cancellation.
#
# asyncio ends a task by raising CancelledError in it, which no `except Exception` catches, and time-outs and task groups are built
# of that. The asyncio client of connectrpc makes a ConnectError of it, with the code CANCELED. So a task that was cancelled is not:
# it has failed. `asyncio.timeout` raises this error and no TimeoutError, a group whose other task failed raises both errors, and a
# loop that calls again behind a ConnectError swallows the cancellation and goes on; asyncio cancels a task once. With grpcio's
# asyncio client all four do what one would think. Who calls with connectrpc looks at `asyncio.current_task().cancelling()` in its
# `except`, or raises the error's cause, which is the CancelledError.
#
# Seen with connectrpc 0.13.0, pyqwest 0.12.0, protobuf-py 0.7.0 and grpcio 1.85.3 on CPython 3.11, and Linux, speaking gRPC to a
# server that does not answer: what the last lines assert. Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check connectrpc==0.13.0 pyqwest==0.12.0 protobuf-py==0.7.0 grpcio==1.85.3
cat >look.py <<'PYTHON'
import asyncio
from collections.abc import Awaitable, Callable

import grpc
from connectrpc.client import ConnectClient
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.protocol import ProtocolType
from protobuf.wkt import Empty
from pyqwest import Client, HTTPTransport, HTTPVersion

METHOD = MethodInfo(
    name="Wait",
    service_name="any.Service",
    input=Empty,
    output=Empty,
    idempotency_level=IdempotencyLevel.UNKNOWN,
    stream_type=StreamType.UNARY,
)
Call = Callable[[], Awaitable[object]]
called: asyncio.Queue[None] = asyncio.Queue()  # one for each call that has come to the server


async def wait(_: bytes, __: grpc.aio.ServicerContext) -> bytes:
    called.put_nowait(None)
    await asyncio.Event().wait()


async def cancelled(call: Call) -> str:
    """Cancel a task that makes a call; return how it ends."""
    task = asyncio.create_task(call())
    await called.get()
    task.cancel()
    await asyncio.wait([task])
    return "cancelled" if task.cancelled() else repr(task.exception())


async def timeout(call: Call) -> str:
    """Let a call's time be over as soon as the server has it; return what comes of it."""

    async def expire() -> None:
        await called.get()
        limit.reschedule(asyncio.get_running_loop().time())

    expiring = asyncio.create_task(expire())
    try:
        async with asyncio.timeout(None) as limit:
            await call()
    except Exception as error:
        await expiring
        return repr(error)


async def group(call: Call) -> str:
    """Make a call beside a task that fails meanwhile; return the errors of both."""

    async def fail() -> None:
        await called.get()
        raise ValueError("its own")

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call())
            tasks.create_task(fail())
    except ExceptionGroup as failed:
        return ", ".join(sorted(map(repr, failed.exceptions)))


async def loop(call: Call) -> str:
    """Cancel a loop that calls again where a call fails; return what it does."""

    over = asyncio.Event()

    async def again() -> None:
        while not over.is_set():
            try:
                await call()
            except Exception:
                continue

    task = asyncio.create_task(again())
    await called.get()
    task.cancel()
    calls = asyncio.create_task(called.get())
    await asyncio.wait([task, calls], return_when=asyncio.FIRST_COMPLETED)
    goes_on = calls.done()
    calls.cancel()
    over.set()
    task.cancel()
    await asyncio.wait([task])
    return "calls again" if goes_on else "ends"


async def main() -> None:
    server = grpc.aio.server()
    handlers = {"Wait": grpc.unary_unary_rpc_method_handler(wait)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("any.Service", handlers),))
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    channel = grpc.aio.insecure_channel(target)
    http = Client(HTTPTransport(http_version=HTTPVersion.HTTP2))
    client = ConnectClient(f"http://{target}", protocol=ProtocolType.GRPC, http_client=http)

    async def by_grpcio() -> None:
        await channel.unary_unary("/any.Service/Wait")(b"")

    async def by_connectrpc() -> None:
        await client.execute_unary(request=Empty(), method=METHOD)

    seen = {}
    for name, call in {"grpcio": by_grpcio, "connectrpc": by_connectrpc}.items():
        seen[name] = {look.__name__: await look(call) for look in (cancelled, timeout, group, loop)}
        print(f"{name}: {seen[name]}")
    error = "ConnectError('Request was cancelled')"
    own = "ValueError('its own')"
    assert seen["grpcio"] == {"cancelled": "cancelled", "timeout": "TimeoutError()", "group": own, "loop": "ends"}
    assert seen["connectrpc"] == {"cancelled": error, "timeout": error, "group": f"{error}, {own}", "loop": "calls again"}
    await channel.close()
    await server.stop(None)


asyncio.run(main())
PYTHON
venv/bin/python look.py
