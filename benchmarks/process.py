"""Processes under measurement: started, found serving, and asked by the kernel what they cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

SERVE = ("-m", "gateway", "serve", "--listen", "127.0.0.1:0", "--auth", "none", "--admin-listen", "", "--no-coalesce")

_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `python ARGUMENTS` for the time of a `with` block; yields it and the first line that it says.

    What it says goes into a file: a pipe that nobody reads would hold it up.
    """
    # Compiled files as after an install; without them the first import of each module would be measured.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=said, stderr=subprocess.STDOUT, text=True, env=environment
        )
        try:
            yield process, _first_line(process, said)
        finally:
            process.terminate()
            process.wait()


def _first_line(process: subprocess.Popen[str], said: IO[str]) -> str:
    while True:
        line, end, _ = os.pread(said.fileno(), 10_000, 0).partition(b"\n")
        if end:
            return line.decode()
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended and said nothing")
        time.sleep(0.001)


def address_in(line: str) -> str:
    """Read where a gateway serves from the first line of its log."""
    message: str = json.loads(line)["message"]
    return message.split()[2].rstrip(",")


def cpu_seconds(pid: int) -> float:
    """Return what a process has used of the CPU, in user and in kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mebibytes(pid: int) -> float:
    """Return the memory that a process holds."""
    return _status(pid, "VmRSS:")


def peak_mebibytes(pid: int) -> float:
    """Return the most memory that a process has held so far."""
    return _status(pid, "VmHWM:")


def count_of(pid: int, kind: str) -> int:
    """Return how many threads (`task`) or open files (`fd`) a process has."""
    return sum(1 for _ in Path(f"/proc/{pid}/{kind}").iterdir())


def _status(pid: int, key: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))
