"""Another commit of this project, to compare with."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]


@contextmanager
def checked_out(ref: str) -> Iterator[Path]:
    """Yield a folder with the files of a git ref, for the time of a `with` block."""
    with TemporaryDirectory(prefix="base-") as folder:
        tree = Path(folder, "base")
        git("worktree", "add", "--detach", str(tree), ref)
        try:
            yield tree
        finally:
            git("worktree", "remove", "--force", str(tree))


def git(*arguments: str) -> str:
    """Return what git says."""
    return subprocess.run(("git", *arguments), cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
