"""Ends a command in order when it is asked to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def cancelled_by_signals() -> Iterator[list[int]]:
    """Cancel the task that runs the block at the first SIGINT or SIGTERM; yields the numbers of those that came.

    A second one ends the process at once, also where it stands in a write that nobody reads: asyncio's own handlers
    would wait for the end of that.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    received: list[int] = []

    def on_signal(number: int, _: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)
        loop.call_soon_threadsafe(task.cancel)

    before = [(number, signal.signal(number, on_signal)) for number in _SIGNALS]
    try:
        yield received
    finally:
        for number, handler in before:
            signal.signal(number, handler)
