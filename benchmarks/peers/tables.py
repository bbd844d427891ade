"""The tables of docs/performance.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from benchmarks.peers.figures import added, over_rounds, share_of_bound, throughput
from benchmarks.peers.growth import QUESTIONS, Growth
from benchmarks.peers.load import Load, Measured
from benchmarks.peers.rounds import LATENCY, SATURATED, Comparison
from benchmarks.peers.systems import BEFORE, BEFORE_COLD, COLD, GOHAND, WARM

# What the project wants to reach: calls a second for each of gohand's, by rows of a page.
TARGETS: Mapping[str, Mapping[int, float]] = {
    WARM: {10: 0.38, 100: 1.6, 1000: 5.5},
    COLD: {100: 1.0, 1000: 1.7},
}
TARGET_SHARE = 0.80
# Milliseconds.
TARGET_ADDED = 0.40

# Shares of a core: more of it for others disturbs what is measured there; with more of it in use the load is the limit.
DISTURBED, FULL = 0.06, 0.95

_OURS = (WARM, COLD, BEFORE, BEFORE_COLD)
_TEN = Load()
(_ALONE,) = (load for load in LATENCY if load.in_flight == 1)
# Pages of one row show no more than those of ten.
_COMPARED = tuple(load for load in SATURATED if load.limit > 1)


def tables(found: Comparison, growth: Growth) -> dict[str, str]:
    """Return all of them, by name."""
    return {
        "throughput": _throughput(found),
        "cpu": _cpu(found),
        "latency": _latency(found),
        "idle": _idle(found),
        "remarks": "\n".join(remarks(found, growth)) or "None.",
    }


def remarks(found: Comparison, growth: Growth) -> Iterator[str]:
    """Yield what makes a figure doubtful."""
    for name, loads in found.results.items():
        for load, rounds in loads.items():
            if troubles := list(_troubles(rounds)):
                yield f"- {name}, {_count(load.limit)}, {load.in_flight} in flight: {'; '.join(troubles)}"
    for question in QUESTIONS:
        for name, line in growth.get(question.name, {}).items():
            for count, rounds in line.items():
                if troubles := list(_troubles(rounds)):
                    yield f"- growth, {name}, {question.unit} {count}: {'; '.join(troubles)}"


def _troubles(rounds: Sequence[Measured]) -> Iterator[str]:
    if foreign := [one.foreign for one in rounds if one.foreign > DISTURBED]:
        yield f"others used up to {max(foreign):.0%} of its core in {len(foreign)} of {len(rounds)} rounds"
    if full := sum(one.load_core > FULL for one in rounds):
        yield f"the core of the load was full in {full} of {len(rounds)}"
    if failed := sum((Counter(one.failed) for one in rounds), Counter()):
        yield f"calls failed: {dict(failed)}"


def _throughput(found: Comparison) -> str:
    rows = ([name, job, *(_ratio(found, name, load) for load in _COMPARED)] for name, job in found.jobs.items())
    return table(["system", "what it does of the job", *(_count(load.limit) for load in _COMPARED)], rows)


def _ratio(found: Comparison, name: str, load: Load) -> str:
    text = throughput(found.results, name, load).text(2)
    target = TARGETS.get(name, {}).get(load.limit)
    return f"{text}, target {target}" if target else text


def _cpu(found: Comparison) -> str:
    def cost(name: str, load: Load) -> str:
        return over_rounds(lambda one: one.cpu_per_call * 1e6, found.results[name], load=load).text(0)

    rows = ([name, *(cost(name, load) for load in SATURATED), _share(found, name)] for name in found.results)
    heads = ["system", *(_count(load.limit) for load in SATURATED), "(echo + client) / it, 10 rows"]
    return table(heads, rows)


def _share(found: Comparison, name: str) -> str:
    if name not in _OURS:
        return ""
    return f"{share_of_bound(found.results, name, _TEN).text(2)}, target {TARGET_SHARE:.2f}"


def _latency(found: Comparison) -> str:
    def milliseconds(name: str) -> Iterator[str]:
        mine = found.results[name]
        yield over_rounds(lambda one: one.p50 * 1e3, mine, load=_ALONE).text(2)
        yield over_rounds(lambda one: one.p99 * 1e3, mine, load=_ALONE).text(2)

    def difference(name: str) -> str:
        if name == GOHAND:
            return ""
        more = added(found.results, name, _ALONE)
        median, low, high = (f"{number * 1e3:+.2f}" for number in (more.median, more.low, more.high))
        target = f", target {TARGET_ADDED:+.2f}" if name == WARM else ""
        return f"{median} ({low} to {high}){target}"

    rows = ([name, *milliseconds(name), difference(name)] for name in found.results)
    return table(["system", "p50, ms", "p99, ms", "p50 beside gohand, ms"], rows)


def _idle(found: Comparison) -> str:
    rows = ([name, f"{found.idle[name]:.0f}", f"{found.starts[name]:.2f}"] for name in found.starts)
    return table(["system", "idle memory, MiB", "start to SERVING, s"], rows)


def _count(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows} rows"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
