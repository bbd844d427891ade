"""Plays scenarios on the gateway of this tree, and on what it is compared to; fails where a promise is broken.

`python -m benchmarks.chaos [--base REF] [NAME ...]`; `make chaos` builds what it needs first.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import benchmarks.chaos.scenarios  # noqa: F401 - registers them
from benchmarks.chaos import envoy
from benchmarks.chaos.scenario import SCENARIOS, Outcome, Scenario, played
from benchmarks.chaos.subjects import GATEWAY, GO_BINARY, Subject, gateway, go_service, proxy
from benchmarks.chaos.table import heading, rows
from benchmarks.trees import checked_out

NOW, BEFORE = "now", "before"


def main() -> int:
    """Return 0 where the gateway of this tree kept all promises, and 1 else."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", metavar="REF", help="a git ref to compare with")
    parser.add_argument("names", metavar="NAME", nargs="*", help="beginnings of the names of scenarios; all by default")
    given = parser.parse_args()
    chosen = [one for name, one in SCENARIOS.items() if name.startswith(tuple(given.names or ("",)))]
    if not chosen:
        parser.error(f"there are: {', '.join(SCENARIOS)}")
    with _trees(given.base) as gateways:
        broken = asyncio.run(_play(chosen, [*gateways, *_comparisons()]))
    for name in broken:
        print(f"broken: {name}")
    return 1 if broken else 0


async def _play(scenarios: Sequence[Scenario], subjects: Sequence[Subject]) -> list[str]:
    """Play scenarios one after the other, and print the table; return those whose promise is broken now."""
    print(heading([subject.name for subject in subjects]), flush=True)
    broken, remarks = [], []
    for chosen in scenarios:
        outcomes = await _outcomes(chosen, subjects)
        print(rows(chosen, outcomes), flush=True)
        remarks += [f"{chosen.name}, {name}: {outcome.remark}" for name, outcome in outcomes.items() if outcome.remark]
        if not outcomes[NOW].kept:
            broken.append(chosen.name)
    print("\n".join(["", *remarks]))
    return broken


async def _outcomes(chosen: Scenario, subjects: Sequence[Subject]) -> dict[str, Outcome]:
    """Play a scenario on all subjects that it is for."""
    turns = asyncio.Semaphore(1 if chosen.is_alone else len(subjects))

    async def in_turn(subject: Subject) -> Outcome:
        async with turns:
            outcome = await _outcome(chosen, subject)
        if chosen.is_alone:  # it takes long, once for each
            print(f"{chosen.name}, {subject.name}: {dict(outcome.numbers)}", file=sys.stderr, flush=True)
        return outcome

    outcomes = await asyncio.gather(*map(in_turn, subjects))
    return {subject.name: outcome for subject, outcome in zip(subjects, outcomes, strict=True)}


async def _outcome(chosen: Scenario, subject: Subject) -> Outcome:
    if subject.kind != GATEWAY and subject.kind not in chosen.beside:
        return Outcome()
    return await played(chosen, subject)


@contextmanager
def _trees(base: str | None) -> Iterator[list[Subject]]:
    """Yield the gateway as it was, if that is asked for, and as it is."""
    now = gateway(NOW)
    if not base:
        yield [now]
        return
    with checked_out(base) as tree:
        yield [gateway(BEFORE, tree), now]


def _comparisons() -> Iterator[Subject]:
    """Yield what is here to compare with; tell what is not."""
    if envoy.BINARY.exists():
        yield proxy()
    else:
        print(f"without Envoy: no {envoy.BINARY.name} beside this interpreter")
    if GO_BINARY.exists():
        yield go_service()
    else:
        print("without the Go service: make chaos builds it where there is Go")


if __name__ == "__main__":
    sys.exit(main())
