"""The house: which room may know which, how large a room may be, and that nothing in it depends on one machine."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CLIENT = ROOT / "clients" / "python"
TESTS = sorted(path for folder in (ROOT, CLIENT) for path in (folder / "tests").glob("*.py"))
MODULES = [
    path
    for package in (ROOT / "gateway", CLIENT / "swr_gateway_client")
    for path in package.rglob("*.py")
    if not {"swr", "v1"} & {*path.relative_to(ROOT).parts}
]


def test_rooms_import_only_rooms_further_down_and_the_core_does_no_io() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_module_is_longer_than_250_lines_and_half_of_them_not_than_100() -> None:
    lines = {path.name: len(path.read_text().splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > 250} == {}
    assert statistics.median(len(path.read_text().splitlines()) for path in MODULES) < 100


def test_the_map_names_every_room() -> None:
    rooms = {path.name.removesuffix(".py") for path in (ROOT / "gateway").iterdir() if not path.name.startswith("__")}
    drawn = (ROOT / "gateway" / "__init__.py").read_text()
    named = {name for line in re.findall(r"^ {4}(\w+(?:, \w+)*) ", drawn, re.MULTILINE) for name in line.split(", ")}
    assert rooms - {"py.typed", "swr"} - named == set()


def test_locks_name_no_host() -> None:
    for lock in (ROOT / "requirements").glob("*.lock"):
        assert "://" not in lock.read_text(), lock.name
        assert "--hash=sha256:" in lock.read_text(), lock.name


CLOCKS = {"monotonic", "perf_counter", "process_time"}


def depends_on_the_clock(node: ast.AST) -> bool:
    """Tell whether a call sleeps for more than a turn of the loop, gives up after so many seconds, or measures them."""
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    seconds = [one.value for one in node.args if isinstance(one, ast.Constant)]
    match name:
        case "sleep":
            return seconds != [0]
        case "timeout":
            return seconds not in ([], [None])
        case "wait":
            return any(keyword.arg == "timeout" for keyword in node.keywords)
        case _:
            return name in CLOCKS or name == "wait_for"


def test_no_test_sleeps_or_measures_time() -> None:
    """A machine that stands still for a while would make it fail; what may wait, and what shakes tests, has a place."""
    found = [
        f"{path.name}:{node.lineno}"
        for path in TESTS
        if path.name not in ("patience.py", "shaken.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and depends_on_the_clock(node)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("call", "depends"),
    [
        ("asyncio.sleep(0)", False),
        ("asyncio.sleep(0.1)", True),
        ("time.sleep(seconds)", True),
        ("asyncio.timeout(5)", True),
        ("asyncio.timeout(PATIENCE)", False),
        ("asyncio.timeout(None)", False),
        ("asyncio.wait_for(event.wait(), 10)", True),
        ("asyncio.wait([task], timeout=0.5)", True),
        ("asyncio.wait([task])", False),
        ("time.monotonic()", True),
        ("stub.ListRepos(request, timeout=0.2)", False),
    ],
)
def test_what_depends_on_the_clock(call: str, depends: bool) -> None:
    assert depends_on_the_clock(ast.parse(call, mode="eval").body) == depends
