"""Time in tests: none is measured, and what waits for something waits as long as the machine needs.

What never comes is ended by pytest's own limit, `timeout` in pyproject.toml.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable

HOUR = 3600.0
# Settings of a gateway whose own limits end no call on a machine that stands still for a while.
PATIENT = dict.fromkeys(("timeout", "attempt_timeout", "queue_timeout", "circuit_window"), "1000h")
AGES = 1000 * HOUR
# Seconds between two questions; nothing depends on how long they are.
PAUSE = 0.02

Advance = Callable[[float], None]


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def advance_of(loop: asyncio.AbstractEventLoop) -> Advance:
    """Return what puts an event loop's clock forward by so many seconds: what would have been due by then is due.

    Deadlines of gRPC are on a clock of its own, which goes on as it does.
    """
    real, ahead = loop.time, 0.0

    def advance(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    loop.time = lambda: real() + ahead  # type: ignore[method-assign]
    return advance


async def let_pass(seconds: float) -> None:
    """Let time pass on gRPC's own clock, which no test can put forward; if it is more, it does no harm."""
    await asyncio.sleep(seconds)


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Ask again and again until it holds: for what happens in other processes, which set no event here."""
    while not (await answer if isawaitable(answer := holds()) else answer):  # noqa: ASYNC110 - see above
        await asyncio.sleep(PAUSE)
