"""A copy of the code and its tests, to be broken and thrown away."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
# A test fails the same way each time, and what hangs has failed; a busy machine is slow with all of them.
PYTEST = (
    *("-p", "no:cacheprovider", "-p", "no:randomly", "--hypothesis-profile=mutants"),
    *("--timeout=60", "--timeout-method=thread"),  # a loop without an end swallows what other methods raise in it
)


@contextmanager
def workplace() -> Iterator[Path]:
    """Copy the tree for the time of a `with` block."""
    with TemporaryDirectory(prefix="mutants-") as folder:
        place = Path(folder)
        for name in ("gateway", "tests"):
            shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", place)
        yield place


def run(place: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module of Python's in the copy, whose code comes before that which is installed."""
    command = [sys.executable, "-B", "-m", module, *arguments]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)


def check(place: Path, *tests: str) -> None:
    """Run tests on code that is whole.

    Raises:
        SystemExit: They fail, and would notice every mutant.
    """
    if (done := run(place, "pytest", "-xq", *PYTEST, *tests)).returncode:
        raise SystemExit(f"error: {', '.join(tests)}: fails on code that is whole:\n{done.stdout}{done.stderr}")
