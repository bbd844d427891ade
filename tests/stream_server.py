"""A server of byte streams that leaves no connection behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]

# Turns of the event loop from the arrival of a connection until it is served.
_TURNS = 3


@asynccontextmanager
async def stream_server(serve: Serve, **more: Any) -> AsyncIterator[int]:
    """Listen on a free port of 127.0.0.1 for the time of a `with` block; yield the port.

    Connections end with the block. asyncio's own server leaves one that has just arrived, or whose coroutine was
    cancelled, to the garbage collector, which complains of it in the middle of some later test.

    Args:
        serve: Serves one connection, and is cancelled at the end.
        more: Arguments of `asyncio.start_server`.
    """
    serving: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)
        task.add_done_callback(lambda _: writer.close())

    server = await asyncio.start_server(begin, "127.0.0.1", 0, family=socket.AF_INET, **more)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        # A server that is closed drops what it has accepted and not made a connection of.
        for listening in server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        server.close()
        for task in serving:
            task.cancel()
        if serving:
            await asyncio.wait(serving)
