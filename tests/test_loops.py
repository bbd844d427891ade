from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import grpc
import pytest

from loops import Loop
from patience import until


async def leave_a_watch(address: str) -> grpc.aio.Channel:
    """Return a channel whose state was watched, by a task that did not live to see it change."""
    channel = grpc.aio.insecure_channel(address)
    watch = asyncio.create_task(channel.wait_for_state_change(grpc.ChannelConnectivity.IDLE))
    await asyncio.sleep(0)
    watch.cancel()
    await asyncio.wait([watch])
    return channel


async def see_it_change(channel: grpc.aio.Channel, address: str, told: list[object]) -> None:
    """Have the state change, on another loop that gRPC has something to do for."""
    async with grpc.aio.insecure_channel(address):
        channel.get_state(try_to_connect=True)
        await until(lambda: bool(told))


def test_what_comes_late_for_a_loop_that_is_closed_is_no_error_of_the_next_one(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = Loop()
    take = ended.call_soon_threadsafe
    told: list[object] = []

    def note_and_take(callback: Callable[..., object], *args: object) -> asyncio.Handle:
        told.append(callback)
        return take(callback, *args)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        with asyncio.Runner(loop_factory=lambda: ended) as runner:
            channel = runner.run(leave_a_watch(address))
        monkeypatch.setattr(ended, "call_soon_threadsafe", note_and_take)
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(see_it_change(channel, address, told))
    assert caplog.text == ""


def test_what_else_is_late_is_an_error() -> None:
    loop = Loop()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon_threadsafe(print)
