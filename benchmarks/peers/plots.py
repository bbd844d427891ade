"""What is drawn: one plot for each question, and in it a line for each system."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from benchmarks.peers.figures import Spread, over_rounds, spread
from benchmarks.peers.growth import QUESTIONS, Costs, Growth, Question
from benchmarks.peers.load import Load, Measured
from benchmarks.peers.rounds import LATENCY, SATURATED, Comparison

Line: TypeAlias = Mapping[int, Spread]


@dataclass(frozen=True)
class Panel:
    """Lines that share their axes.

    Attributes:
        title: What is shown.
        lines: Its points, by name of the system.
        from_zero: Whether it shows what hardly changes, and not what grows many times over.
    """

    title: str
    lines: Mapping[str, Line]
    from_zero: bool = False


@dataclass(frozen=True)
class Plot:
    """One picture.

    Attributes:
        name: That of its file.
        counted: What grows to the right.
        panels: One beside the other.
    """

    name: str
    counted: str
    panels: Sequence[Panel]


NAMES = ("throughput", "latency", *(question.name for question in QUESTIONS))


def plots(found: Comparison, growth: Growth) -> Iterator[Plot]:
    """Yield those of NAMES."""
    rates = _lines(found, SATURATED, lambda load: load.limit, lambda one: one.rate)
    yield Plot("throughput", "rows of a page", [Panel("calls a second", rates)])
    halves = _lines(found, LATENCY, lambda load: load.in_flight, lambda one: one.p50 * 1e3)
    most = _lines(found, LATENCY, lambda load: load.in_flight, lambda one: one.p99 * 1e3)
    panels = [Panel("p50 of a call of 10 rows, ms", halves), Panel("p99, ms", most)]
    yield Plot("latency", "calls in flight", panels)
    yield from (_cost(question, growth[question.name]) for question in QUESTIONS)


def _lines(
    found: Comparison, loads: Sequence[Load], count: Callable[[Load], int], number: Callable[[Measured], float]
) -> dict[str, Line]:
    return {
        name: {count(load): over_rounds(number, mine, load=load) for load in loads}
        for name, mine in found.results.items()
    }


def _cost(question: Question, costs: Costs) -> Plot:
    lines = {
        name: {count: spread([one.cpu_per_call * 1e6 for one in rounds]) for count, rounds in line.items()}
        for name, line in costs.items()
    }
    return Plot(
        question.name, question.unit, [Panel(f"{question.title}, µs of CPU", lines, from_zero=not question.grows)]
    )
