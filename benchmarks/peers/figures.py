"""Medians and ranges over rounds, of ratios and differences within the same round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.peers.load import Load, Measured
from benchmarks.peers.rounds import Results
from benchmarks.peers.systems import CLIENT, ECHO, GOHAND


@dataclass(frozen=True)
class Spread:
    """A number as it was in several rounds."""

    median: float
    low: float
    high: float

    def text(self, digits: int) -> str:
        """Write it with so many digits behind the point, and its range in brackets."""
        median, low, high = (f"{number:.{digits}f}" for number in (self.median, self.low, self.high))
        return f"{median} ({low} to {high})"


def spread(numbers: Sequence[float]) -> Spread:
    """Return the median and the range of numbers."""
    return Spread(statistics.median(numbers), min(numbers), max(numbers))


def over_rounds(of: Callable[..., float], *systems: Mapping[Load, Sequence[Measured]], load: Load) -> Spread:
    """Return a number that is computed, round by round, of what some systems did then."""
    return spread([of(*measured) for measured in zip(*(system[load] for system in systems), strict=True)])


def throughput(results: Results, name: str, load: Load) -> Spread:
    """Return the calls a second of a system for each of gohand's."""
    return over_rounds(lambda ours, theirs: ours.rate / theirs.rate, results[name], results[GOHAND], load=load)


def added(results: Results, name: str, load: Load) -> Spread:
    """Return the seconds that half of the calls take longer than gohand's."""
    return over_rounds(lambda ours, theirs: ours.p50 - theirs.p50, results[name], results[GOHAND], load=load)


def share_of_bound(results: Results, name: str, load: Load) -> Spread:
    """Return what an echo and a client cost together, for what a call through a gateway in Python costs."""

    def share(ours: Measured, echo: Measured, client: Measured) -> float:
        return (echo.cpu_per_call + client.cpu_per_call) / ours.cpu_per_call

    return over_rounds(share, results[name], results[ECHO], results[CLIENT], load=load)
