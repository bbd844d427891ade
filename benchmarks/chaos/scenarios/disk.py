"""The temporary disk is full: a service that stores nothing does not need it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.chaos.load import at_once, lost
from benchmarks.chaos.scenario import Numbers, Skipped, scenario
from benchmarks.chaos.subjects import Subject
from benchmarks.chaos.upstream import playing

# Calls: connections, and how many one after the other on each.
CALLERS, EACH, TOGETHER = 8, 6, 8
CALLS = CALLERS * EACH * TOGETHER
SIZE = "4m"


@scenario("full-disk", {f"calls lost of {CALLS}": 0})
async def full_disk(subject: Subject) -> Numbers:
    """Fill the disk for temporary files below two workers."""
    with _small_disk() as disk:
        variables = {"TMPDIR": str(disk)}
        async with playing() as upstream, subject.serve(upstream.url, "--workers", "2", variables=variables) as served:
            _fill(disk)
            outcomes = []
            for _ in range(EACH):
                for number in range(CALLERS):
                    outcomes += await at_once(served.caller(f"tenant-{number}"), TOGETHER)
            return (lost(outcomes),)


@contextmanager
def _small_disk() -> Iterator[Path]:
    with TemporaryDirectory(prefix="chaos-disk-") as folder:
        mount = ("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder)
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
        if mounted.returncode:
            raise Skipped(f"no disk of its own: {mounted.stderr.strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(("umount", "--lazy", folder), check=True)


def _fill(disk: Path) -> None:
    with (disk / "full").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
