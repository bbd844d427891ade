"""How callers ask, and what becomes of their calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from benchmarks.chaos.callers import DEADLINE, OK, WRONG, Caller

PAUSE = 0.02


def lost(outcomes: Iterable[str]) -> int:
    """Count the calls that were not answered with the caller's own rows."""
    return sum(outcome != OK for outcome in outcomes)


def wrong(outcomes: Iterable[str]) -> int:
    """Count the calls that were answered with rows of another call's."""
    return sum(outcome == WRONG for outcome in outcomes)


async def at_once(caller: Caller, count: int, within: float = DEADLINE) -> list[str]:
    """Make so many calls together."""
    return await asyncio.gather(*(caller.ask(within) for _ in range(count)))


async def one_by_one(caller: Caller, count: int, within: float = DEADLINE) -> list[str]:
    """Make so many calls, each after the one before has ended."""
    return [await caller.ask(within) for _ in range(count)]


async def at_rate(caller: Caller, per_second: float, seconds: float) -> list[str]:
    """Begin calls at a rate, whatever becomes of those before."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        calls = []
        for number in range(int(per_second * seconds)):
            await asyncio.sleep(max(began + number / per_second - time.monotonic(), 0))
            calls.append(group.create_task(caller.ask()))
    return [call.result() for call in calls]


async def again_and_again(caller: Caller, together: int, seconds: float, within: float = DEADLINE) -> list[str]:
    """Have so many ask again as soon as they are answered, refused or tired of waiting."""
    ends = time.monotonic() + seconds
    outcomes: list[str] = []

    async def insist() -> None:
        while time.monotonic() < ends:
            outcomes.append(await caller.ask(within))
            await asyncio.sleep(PAUSE)

    await asyncio.gather(*(insist() for _ in range(together)))
    return outcomes


async def cancelled(caller: Caller, count: int, after: float) -> None:
    """Make so many calls together, and hang up after so many seconds."""
    calls = [asyncio.create_task(caller.ask()) for _ in range(count)]
    await asyncio.sleep(after)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def seconds_until_well(caller: Caller, most: float = 10.0) -> float:
    """Ask until ten calls in a row were answered; return after how many seconds the first of them began."""
    began = first = time.monotonic()
    in_a_row = 0
    while in_a_row < 10 and time.monotonic() < began + most:
        at = time.monotonic()
        if await caller.ask() != OK:
            in_a_row = 0
        else:
            first = first if in_a_row else at
            in_a_row += 1
        await asyncio.sleep(PAUSE)
    return first - began if in_a_row else most


async def until(holds: Callable[[], bool], within: float = 20.0) -> float:
    """Wait until it holds, and so many seconds at the most; return how many it were."""
    began = time.monotonic()
    while not holds() and time.monotonic() < began + within:  # noqa: ASYNC110 - processes set no event here
        await asyncio.sleep(PAUSE)
    return time.monotonic() - began
