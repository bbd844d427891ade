"""Compares the gateway with its peers, and writes docs/performance.md; `make bench-peers` builds what that needs."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from contextlib import nullcontext
from pathlib import Path

from benchmarks.peers import page
from benchmarks.peers.figures import over_rounds
from benchmarks.peers.growth import QUESTIONS, Growth, ask
from benchmarks.peers.load import LOAD_CORE, SYSTEM_CORE
from benchmarks.peers.plots import plots
from benchmarks.peers.profile import profile, shares_table
from benchmarks.peers.rounds import SATURATED, Comparison, compare
from benchmarks.peers.systems import GOHAND
from benchmarks.peers.tables import tables
from benchmarks.trees import checked_out

# Beyond these, further rounds of our gateway alone show nothing.
_ROUNDS_OF_GROWTH = 3


def main() -> None:
    """Measure, print the tables, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement, at least")
    parser.add_argument("--base", metavar="REF", help="a git ref to compare with")
    given = parser.parse_args()
    if not {SYSTEM_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        sys.exit(f"it needs cores {SYSTEM_CORE} and {LOAD_CORE}")
    os.sched_setaffinity(0, {LOAD_CORE})
    with checked_out(given.base) if given.base else nullcontext() as tree:
        found, growth, shares = asyncio.run(_measure(tree, given.rounds, given.seconds))
    parts = {**tables(found, growth), "profile": shares_table(shares)}
    for title, part in parts.items():
        print(f"\n{title}\n\n{part}")
    page.write({**parts, "gohand": _rates(found), "method": page.method(given.rounds, given.seconds, given.base)})
    page.illustrate(plots(found, growth))


async def _measure(
    tree: Path | None, rounds: int, seconds: float
) -> tuple[Comparison, Growth, dict[str, dict[str, float]]]:
    shares = await profile()
    found = await compare(tree, rounds, seconds)
    few = min(rounds, _ROUNDS_OF_GROWTH)
    growth = {question.name: await ask(question, few, seconds) for question in QUESTIONS}
    return found, growth, shares


def _rates(found: Comparison) -> str:
    """Say how many calls a second gohand answers."""
    theirs = found.results[GOHAND]
    medians = [over_rounds(lambda one: one.rate, theirs, load=load).median for load in SATURATED if load.limit > 1]
    return ", ".join(f"{median:.0f}" for median in medians)


if __name__ == "__main__":
    main()
