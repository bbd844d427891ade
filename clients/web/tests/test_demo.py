"""`make demo-web` without make: one address, and nothing is left behind it."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from asyncio.subprocess import PIPE

import aiohttp
import pytest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_prints_one_address_and_ends_whole(number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "clients.web.demo", stdout=PIPE, stderr=PIPE)
    assert process.stdout
    line = (await process.stdout.readline()).decode()
    (url,) = re.findall(r"http://\S+", line)
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as response:
            assert "<title>Image repositories</title>" in await response.text()
        process.send_signal(number)
        assert await process.communicate() == (b"", b"")
        assert process.returncode == 0
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)
