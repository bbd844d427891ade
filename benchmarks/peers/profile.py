"""Shows where a loaded gateway spends its time: flame graphs in .tools/, and a table of shares by package.

What is compiled counts for the Python frame that called it: gRPC's own is called by asyncio and by a thread of its own.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.peers.load import LOAD_CORE, Load
from benchmarks.peers.running import Server, served, upstream
from benchmarks.peers.systems import COLD, NO_MEMO, WARM, System, gateway
from benchmarks.peers.tables import table
from benchmarks.trees import ROOT

SUBJECTS = (
    (gateway(WARM), Load(limit=10)),
    (gateway(WARM), Load(limit=1000)),
    (gateway(COLD, *NO_MEMO), Load(limit=1000)),
)
# Of ours a room each, of others the package.
_OURS = "gateway"
# Share below which an owner is one of the rest.
_SHOWN = 0.02
_SECONDS = 10
# Samples a second.
_RATE = 200
_SPY = Path(sys.executable).with_name("py-spy")

Shares = Mapping[str, float]


def owners(stacks: Iterable[str]) -> dict[str, float]:
    """Return the share of the samples that each package had, and each room of the gateway: where stacks end.

    Args:
        stacks: Lines such as `run (a/b.py:1);call (c/d.py:2) 17`: frames from the outermost on, and samples.
    """
    counts: Counter[str] = Counter()
    for line in stacks:
        frames, _, samples = line.rpartition(" ")
        counts[_owner(frames.rpartition(";")[2])] += int(samples)
    return {owner: count / counts.total() for owner, count in counts.most_common()}


def _owner(frame: str) -> str:
    file = frame.rpartition(" (")[2].rpartition(":")[0]
    first, *others = file.removesuffix(".py").split("/")
    return "/".join((first, *others[:1])) if first == _OURS else first or "unknown"


def shares_table(subjects: Mapping[str, Shares]) -> str:
    """Return a row for each owner that has a share worth telling, and one for the rest."""
    found = subjects.values()
    shown = [owner for owner in _by_most(found) if any(shares.get(owner, 0) >= _SHOWN for shares in found)]
    rows = [[owner, *(f"{shares.get(owner, 0):.0%}" for shares in found)] for owner in shown]
    rest = [1 - sum(shares.get(owner, 0) for owner in shown) for shares in found]
    return table(["where", *subjects], [*rows, ["the rest", *(f"{share:.0%}" for share in rest)]])


def _by_most(found: Iterable[Shares]) -> Sequence[str]:
    most: Counter[str] = Counter()
    for shares in found:
        most.update({owner: round(share * 1e6) for owner, share in shares.items()})
    return [owner for owner, _ in most.most_common()]


async def profile() -> dict[str, dict[str, float]]:
    """Draw the flame graphs, and return the shares by subject."""
    found = {}
    for system, load in SUBJECTS:
        name = f"{system.name}, {load.limit} rows"
        async with upstream() as url, served(system, url) as running:
            assert isinstance(running, Server)
            # The load lasts longer than both profiles, whenever they begin.
            loading = asyncio.create_task(running.measure(load, 2 * _SECONDS + 4))
            await _record(running.process, _flame_graph(system, load), "flamegraph")
            found[name] = await _shares(running.process)
            await loading
    return found


async def _shares(process: int) -> dict[str, float]:
    with TemporaryDirectory() as folder:
        stacks = Path(folder, "stacks")
        await _record(process, stacks, "raw")
        with stacks.open() as lines:  # noqa: ASYNC230 - nothing else runs on this loop now
            return owners(lines)


def _flame_graph(system: System, load: Load) -> Path:
    return ROOT / ".tools" / f"profile-{system.name.replace(' ', '-')}-{load.limit}.svg"


async def _record(process: int, file: Path, form: str) -> None:
    """Read the stacks of a process, which is not stopped for it: its pace is what is looked at."""
    flags = ("--nonblocking", "--duration", str(_SECONDS), "--rate", str(_RATE), "--format", form)
    command = (_SPY, "record", "--pid", str(process), "--output", file, *flags)
    spy = await asyncio.create_subprocess_exec(*command)
    if await spy.wait():
        raise RuntimeError("py-spy failed: it may need the right to trace processes, as root has it")


def main() -> None:
    """Draw and print."""
    os.sched_setaffinity(0, {LOAD_CORE})
    print(shares_table(asyncio.run(profile())))
    print("Flame graphs: .tools/profile-*.svg")


if __name__ == "__main__":
    main()
