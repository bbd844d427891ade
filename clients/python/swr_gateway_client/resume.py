"""A stream that goes on where it broke."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeAlias

from swr_gateway_client.call_error import CallError
from swr_gateway_client.connection import Connection
from swr_gateway_client.v1 import repos_pb2

# Resumes in a row that lead no further.
MAX_RESUMES = 3

# Seconds: who is asked to wait longer wants to know rather than to wait.
MAX_PATIENCE = 30.0

# Seconds before a resume where the server names none.
MIN_WAIT = 0.1
MAX_WAIT = 1.0

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
    clock = asyncio.get_running_loop().time
    deadline = clock() + (math.inf if timeout is None else timeout)
    resumes = 0
    while True:
        left = None if timeout is None else deadline - clock()
        call = connection.stub.StreamRepos(request, metadata=metadata, timeout=left)
        messages = aiter(call)
        try:
            while (message := await _next(connection, messages)) is not None:
                # A server that sends what leads no further, and then breaks, must not keep its caller for ever.
                if message.next_offset > request.start_offset:
                    request.start_offset, resumes = message.next_offset, 0
                yield message
        except CallError as failure:
            wait = wait_before_resume(failure, resumes)
            if clock() + wait >= deadline:
                raise
        else:
            return
        finally:
            # For a consumer that stops; a call that has ended does not mind.
            call.cancel()
        await connection.pause(wait)
        resumes += 1


async def _next(
    connection: Connection, messages: AsyncIterator[repos_pb2.StreamReposResponse]
) -> repos_pb2.StreamReposResponse | None:
    with connection.failures():
        return await anext(messages, None)


def wait_before_resume(failure: CallError, resumes: int) -> float:
    """Return the seconds to wait before a stream is opened again; infinity means that it is not.

    Args:
        failure: How it ended.
        resumes: How often it was opened again since it last led further.
    """
    if not failure.may_retry or resumes >= MAX_RESUMES:
        return math.inf
    if failure.retry_delay is not None:
        return failure.retry_delay if failure.retry_delay <= MAX_PATIENCE else math.inf
    return random.uniform(MIN_WAIT, min(MIN_WAIT * 3 ** (resumes + 1), MAX_WAIT))
