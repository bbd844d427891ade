"""What a case is: something that every client has to do, and what may come of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from clients.interop.stage import Stage

# What a case says where there is nothing else to say.
OK = "ok"

# Seconds of one case with one client, on a machine that has much else to do.
LIMIT = 90.0


class WrongError(Exception):
    """A client, or the gateway, did not do what a case is about."""


# Returns what was seen, in a word or two: what is held against the expectation, and stands in the table.
Play: TypeAlias = Callable[["Stage"], Awaitable[str]]


@dataclass(frozen=True)
class Case:
    """Something that every client has to do.

    Attributes:
        name: As gRPC's own interop tests call it, where they have it.
        what: What is done and expected, in a sentence.
        play: Does it.
        expected: What is seen, as a regular expression.
    """

    name: str
    what: str
    play: Play
    expected: str = OK


class Verdict(Enum):
    """What came of a case."""

    PASSED = "passed"
    DIFFERS = "differs"
    UNSUPPORTED = "not supported"
    FAILED = "failed"


@dataclass(frozen=True)
class Played:
    """How a case ended with a client.

    Attributes:
        seen: What stands in the table.
        verdict: Whether that is as expected.
        remark: Why it differs, or what went wrong.
    """

    seen: str
    verdict: Verdict
    remark: str = ""


CASES: dict[str, Case] = {}


def case(what: str, expected: str = OK) -> Callable[[Play], Play]:
    """Register a function as a case of the same name."""

    def register(play: Play) -> Play:
        name = getattr(play, "__name__", "")
        CASES[name] = Case(name, what, play, expected)
        return play

    return register


def expect(holds: object, otherwise: str) -> None:
    """Hold a case to a condition.

    Raises:
        WrongError: It does not hold.
    """
    if not holds:
        raise WrongError(otherwise)


def same(seen: object, wanted: object, what: str) -> None:
    """Hold a case to a value.

    Raises:
        WrongError: It is another one.
    """
    expect(seen == wanted, f"{what} is {seen!r} and not {wanted!r}")


async def comes(event: Awaitable[object], what: str, within: float = 20.0) -> None:
    """Wait for what has to come.

    Raises:
        WrongError: It did not.
    """
    try:
        async with asyncio.timeout(within):
            await event
    except TimeoutError:
        raise WrongError(f"after {within:.0f} s {what} has not come") from None
