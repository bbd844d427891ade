"""A stream that goes on where it broke."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeAlias

from swr_gateway_client.call_error import CallError
from swr_gateway_client.connection import Connection
from swr_gateway_client.methods import read_message
from swr_gateway_client.progress import Progress
from swr_gateway_client.v1 import repos_pb2

Metadata: TypeAlias = tuple[tuple[str, str], ...]


async def resumed(
    connect: Callable[[], Connection],
    request: repos_pb2.StreamReposRequest,
    metadata: Metadata,
    timeout: float | None,
) -> AsyncGenerator[repos_pb2.StreamReposResponse, None]:
    """Yield a stream's messages, and open it again behind the last one where it breaks.

    Args:
        connect: Returns the connection, when the first message is asked for.
        request: What to ask for; its `start_offset` is moved on.
        metadata: What goes with every call.
        timeout: Seconds for all calls and the waits between them; None sets no deadline.

    Raises:
        CallError: The stream failed in a way that a new try does not help, failed MAX_RESUMES + 1 times without
            leading further, or would have to wait past the deadline, which raises the last call's error; or the client
            was closed meanwhile.
        RuntimeError: From `connect`.
    """
    connection = connect()
    progress = Progress(request, timeout, asyncio.get_running_loop().time)
    while True:
        call = connection.stream_repos(progress.request, metadata=metadata, timeout=progress.time_left())
        messages = aiter(call)
        try:
            while (message := await _next(connection, messages)) is not None:
                progress.advance(message)
                yield message
        except CallError as failure:
            if (wait := progress.wait_behind(failure)) is None:
                raise
        else:
            return
        finally:
            # For a consumer that stops; a call that has ended does not mind.
            call.cancel()
        await connection.pause(wait)


async def _next(connection: Connection, messages: AsyncIterator[bytes]) -> repos_pb2.StreamReposResponse | None:
    with connection.failures():
        message = await anext(messages, None)
        return None if message is None else read_message(message)
