"""The house: which room may know which, how large a room may be, and that nothing in it depends on one machine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODULES = [path for path in (ROOT / "gateway").rglob("*.py") if "swr" not in path.relative_to(ROOT).parts]


def test_rooms_import_only_rooms_further_down_and_the_core_does_no_io() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_room_is_larger_than_300_lines() -> None:
    assert {path.name: lines for path in MODULES if (lines := len(path.read_text().splitlines())) > 300} == {}


def test_the_map_names_every_room() -> None:
    rooms = {path.name.removesuffix(".py") for path in (ROOT / "gateway").iterdir() if not path.name.startswith("__")}
    drawn = (ROOT / "gateway" / "__init__.py").read_text()
    unnamed = {room for room in rooms - {"py.typed", "swr"} if not re.search(rf"^ {{4}}{room} ", drawn, re.MULTILINE)}
    assert unnamed == set()


def test_locks_name_no_host() -> None:
    for lock in (ROOT / "requirements").glob("*.lock"):
        assert "://" not in lock.read_text(), lock.name
        assert "--hash=sha256:" in lock.read_text(), lock.name
