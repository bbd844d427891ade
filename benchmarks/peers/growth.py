"""Our gateway alone, with ever more to do: a call costs the same, or grows with its rows, and nowhere is a bend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from benchmarks.peers.load import Load, Measured
from benchmarks.peers.running import served, upstream
from benchmarks.peers.systems import COLD, NO_MEMO, WARM, gateway

# No call is refused for there are many.
_MANY = ("--max-in-flight", "512")
# Rows of a stream, which is ten pages.
_STREAMED = "1000"


@dataclass(frozen=True)
class Question:
    """What is there more and more of.

    Attributes:
        name: That of its plot.
        title: What is asked.
        unit: What is counted.
        counts: How many there are.
        load: The load with so many.
        flags: Of the gateways, by name.
        upstream: Flags of the upstream.
        grows: Whether the cost of a call may grow with them.
    """

    name: str
    title: str
    unit: str
    counts: Sequence[int]
    load: Callable[[int], Load]
    flags: Mapping[str, Sequence[str]]
    upstream: Sequence[str] = ()
    grows: bool = False


QUESTIONS = (
    Question(
        name="rows",
        title="A call by the rows of its page",
        unit="rows",
        counts=(1, 10, 100, 1000, 2500, 5000),
        # Eight such pages have no room in a memory of the default size, and would not be warm.
        load=lambda count: Load(rows=count, in_flight=8, pages=2),
        flags={WARM: (), COLD: NO_MEMO},
        grows=True,
    ),
    Question(
        name="in-flight",
        title="A call of 10 rows by the calls in flight",
        unit="calls in flight",
        counts=(1, 2, 8, 32, 128, 512),
        load=lambda count: Load(in_flight=count),
        flags={WARM: _MANY},
    ),
    Question(
        name="waiters",
        title="A call of 10 rows by the callers who wait for one request",
        unit="waiters",
        counts=(1, 10, 100, 1000, 10_000),
        # The page comes when all of them wait for it.
        load=lambda count: Load(in_flight=count, pages=1, bursts=True, wait=10 + count // 5),
        flags={WARM: ("--coalesce",)},
    ),
    Question(
        name="streams",
        title="A stream of 1000 rows by the streams at once",
        unit="streams",
        counts=(1, 4, 16, 64, 200),
        load=lambda count: Load(limit=100, in_flight=count, streams=True),
        flags={WARM: _MANY},
        upstream=("-total", _STREAMED),
    ),
)

# By name of the gateway and how many there were: one a round.
Costs: TypeAlias = Mapping[str, Mapping[int, Sequence[Measured]]]
# By name of the question.
Growth: TypeAlias = Mapping[str, Costs]


async def ask(question: Question, rounds: int, seconds: float) -> Costs:
    """Measure the cost of a call so many times."""
    costs: dict[str, dict[int, list[Measured]]] = {}
    for name, flags in question.flags.items():
        costs[name] = {count: [] for count in question.counts}
        async with upstream(*question.upstream) as url, served(gateway(name, *flags), url) as running:
            for _ in range(rounds):
                for count in question.counts:
                    costs[name][count].append(await running.measure(question.load(count), seconds))
    print(f"{question.title}: measured", flush=True)
    return costs
