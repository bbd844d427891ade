"""The server of byte streams that tests use: with it end its connections, however far they have come."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import pytest

from stream_server import stream_server


async def wait_for_ever(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()
    await asyncio.Event().wait()


@pytest.mark.parametrize("turns", range(8))
async def test_a_connection_ends_with_its_server_however_far_it_has_come(turns: int) -> None:
    with socket.socket() as client:
        client.setblocking(False)
        async with stream_server(wait_for_ever) as port:
            with suppress(BlockingIOError):
                client.connect(("127.0.0.1", port))
            for _ in range(turns):
                await asyncio.sleep(0)
        with suppress(ConnectionError):
            assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
