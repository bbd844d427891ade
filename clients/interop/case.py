"""What a case is: something that every client has to do, and what may come of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from clients.interop.stage import Stage

# What a case says where there is nothing else to say.
OK = "ok"

# Seconds of one case with one client, on a machine that has much else to do.
LIMIT = 90.0


# Returns what was seen, in a word or two: what is held against the expectation, and stands in the table.
Play: TypeAlias = Callable[[Stage], Awaitable[str]]


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
