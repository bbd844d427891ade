"""A stream that goes on where it broke, for callers without an event loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator

from swr_gateway_client.call_error import CallError
from swr_gateway_client.methods import read_message
from swr_gateway_client.progress import Progress
from swr_gateway_client.resume import Metadata
from swr_gateway_client.sync_connection import SyncConnection
from swr_gateway_client.v1 import repos_pb2


def sync_resumed(
    connect: Callable[[], SyncConnection],
    request: repos_pb2.StreamReposRequest,
    metadata: Metadata,
    timeout: float | None,
) -> Generator[repos_pb2.StreamReposResponse, None, None]:
    """Yield a stream's messages, with the arguments, guarantees and errors of `resumed`."""
    connection = connect()
    progress = Progress(request, timeout, time.monotonic)
    while True:
        with connection.failures():
            call = connection.stream_repos(progress.request, metadata=metadata, timeout=progress.time_left())
        try:
            while (message := _next(connection, call)) is not None:
                progress.advance(message)
                yield message
        except CallError as failure:
            if (wait := progress.wait_behind(failure)) is None:
                raise
        else:
            return
        finally:
            call.cancel()
        connection.pause(wait)


def _next(connection: SyncConnection, messages: Iterator[bytes]) -> repos_pb2.StreamReposResponse | None:
    with connection.failures():
        message = next(messages, None)
        return None if message is None else read_message(message)
