"""Draws where a loaded gateway spends its time: a flame graph for small pages, and one for large ones."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from benchmarks.peers.load import LOAD_CORE, Load
from benchmarks.peers.running import Server, served, upstream
from benchmarks.peers.systems import WARM, gateway
from benchmarks.trees import ROOT

_LIMITS = (10, 1000)
_SECONDS = 10
# Samples a second.
_RATE = 200
_SPY = Path(sys.executable).with_name("py-spy")


async def main() -> None:
    os.sched_setaffinity(0, {LOAD_CORE})
    for limit in _LIMITS:
        async with upstream() as url, served(gateway(WARM), url) as running:
            assert isinstance(running, Server)
            file = ROOT / ".tools" / f"profile-{limit}.svg"
            # The load lasts longer than the profile, whenever that begins.
            load = asyncio.create_task(running.measure(Load(limit=limit), _SECONDS + 2))
            await _record(running.process, file)
            print(f"{file.relative_to(ROOT)}: {(await load).rate:.0f} calls a second of {limit} rows")


async def _record(process: int, file: Path) -> None:
    """Read the stacks of a process, which is not stopped for it: its pace is what is looked at."""
    flags = ("--nonblocking", "--duration", str(_SECONDS), "--rate", str(_RATE), "--format", "flamegraph")
    command = (_SPY, "record", "--pid", str(process), "--output", file, *flags)
    spy = await asyncio.create_subprocess_exec(*command)
    if await spy.wait():
        raise RuntimeError("py-spy failed: it may need the right to trace processes, as root has it")


if __name__ == "__main__":
    asyncio.run(main())
