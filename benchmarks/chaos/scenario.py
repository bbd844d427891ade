"""What a scenario is: something bad that happens, numbers of the harm that it does, and how much of it is promised."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from benchmarks.chaos.subjects import Subject

# Seconds, of a scenario on one subject.
LIMIT = 90.0

Numbers: TypeAlias = tuple[float, ...]
Play: TypeAlias = Callable[[Subject], Awaitable[Numbers]]


class Skipped(Exception):  # noqa: N818 - nothing went wrong
    """A scenario cannot be played here; the text says why."""


@dataclass(frozen=True)
class Scenario:
    """Something bad that happens.

    Attributes:
        name: What it is chosen by.
        promise: Names of its numbers, and the most that each may be.
        beside: Kinds of subjects that it is played on beside gateways.
        play: Has it happen to a subject; returns the numbers, in the order of the promise.
        limit: Seconds that it may take.
        is_alone: Whether it needs the machine for itself; else all subjects go through it at the same time.
    """

    name: str
    promise: Mapping[str, float]
    beside: frozenset[str]
    play: Play
    limit: float = LIMIT
    is_alone: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a scenario ended on one subject.

    Attributes:
        numbers: By name; nothing where it was not played, or has not come to its end.
        remark: Why not.
        kept: Whether the promise was kept, as far as it was tried.
    """

    numbers: Mapping[str, float] = field(default_factory=dict)
    remark: str = ""
    kept: bool = True


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    name: str,
    promise: Mapping[str, float],
    *,
    beside: tuple[str, ...] = (),
    limit: float = LIMIT,
    is_alone: bool = False,
) -> Callable[[Play], Play]:
    """Register a function as a scenario."""

    def register(play: Play) -> Play:
        SCENARIOS[name] = Scenario(name, promise, frozenset(beside), play, limit, is_alone)
        return play

    return register


async def played(chosen: Scenario, subject: Subject) -> Outcome:
    """Play a scenario on a subject, in bounded time."""
    try:
        async with asyncio.timeout(chosen.limit) as limit:
            numbers = dict(zip(chosen.promise, await chosen.play(subject), strict=True))
    except Skipped as reason:
        return Outcome(remark=str(reason))
    except Exception as error:  # noqa: BLE001 - what a subject that breaks down does to a scenario, nobody foresees
        remark = f"not over after {chosen.limit:.0f} s" if limit.expired() else repr(error)
        return Outcome(remark=remark, kept=False)
    return Outcome(numbers, kept=all(number <= chosen.promise[name] for name, number in numbers.items()))
