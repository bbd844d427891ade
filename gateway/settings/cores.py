"""How many cores this process may use: those it may run on, and the CPU time that its control groups give it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_QUOTA = re.compile(r"(\d+) (\d+)\n?", re.ASCII)


def available_cores() -> int:
    """Return how many cores are available, 1 or more; part of one counts as one."""
    usable = len(os.sched_getaffinity(0))
    return max(1, math.ceil(min([usable, *_quotas(_CGROUPS, _read(_OWN_CGROUP))])))


def _quotas(root: Path, own: str) -> Iterator[float]:
    """Yield the cores that a process' control group and those around it give it: the version 2 of control groups only.

    Args:
        root: Where control groups are mounted.
        own: What /proc/self/cgroup says.
    """
    match = re.search(r"^0::/(.*)$", own, re.MULTILINE)
    folder = root / match[1] if match else root
    for group in (folder, *folder.parents):
        if quota := _QUOTA.fullmatch(_read(group / "cpu.max")):
            yield int(quota[1]) / int(quota[2])
        if group == root:
            return


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
