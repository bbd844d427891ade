"""Mutants that mutmut generates: each has one operator, number, text or argument of a function changed.

It leaves alone what runs once, when a module is imported: constants, tables, and functions with most decorators.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import NamedTuple

from mutation.workplace import PYTEST, check, run, workplace

# How pytest ends, or 33 where no test comes by. What else there is says that mutmut is in trouble.
KILLED = {1, 2, 3}
ALIVE = {0, 33}


class Outcome(NamedTuple):
    """What became of the mutants of a file: how many there were, and those that no test noticed."""

    mutants: int
    survivors: list[str]


def test(file: str, tests: list[str]) -> Outcome:
    """Run tests against every mutant of a file.

    Survivors are named by their function and by what was changed, which stays true while lines and numbers move.

    Raises:
        SystemExit: The tests fail without any mutant, or mutmut does.
    """
    with workplace() as place:
        check(place, *tests)
        _configure(place, file, tests)
        # More than processors: mutants that hang keep none of them busy.
        done = run(place, "mutmut", "run", "--max-children", str(4 * (os.cpu_count() or 1)))
        codes = _exit_codes(place / "mutants" / f"{file}.meta")
        if done.returncode or not codes or not {*codes.values()} <= KILLED | ALIVE:
            odd = sorted({str(code) for code in codes.values() if code not in KILLED | ALIVE})
            raise SystemExit(
                f"error: mutmut did not come to an end with {file}: it ended with {done.returncode}, and of its"
                f" {len(codes)} mutants some with {', '.join(odd) or 'nothing else'}\n{done.stdout[-500:]}{done.stderr}"
            )
        return Outcome(len(codes), [_describe(place, name) for name, code in codes.items() if code in ALIVE])


def _exit_codes(told: Path) -> dict[str, int | None]:
    """Return how pytest ended with each mutant; nothing where mutmut did not come to them."""
    if not told.exists():
        return {}
    codes: dict[str, int | None] = json.loads(told.read_text(encoding="utf-8"))["exit_code_by_key"]
    return codes


def _configure(place: Path, file: str, tests: list[str]) -> None:
    settings = {
        "source_paths": ["gateway"],
        "only_mutate": [file],
        "pytest_add_cli_args": [*PYTEST],
        "pytest_add_cli_args_test_selection": tests,
        "timeout_constant": 3600,  # pytest has a limit of its own
        "process_isolation": "forkserver",  # gRPC's threads do not survive a fork
        "track_dependencies": False,
        "use_git_change_detection": False,
    }
    with (place / "pyproject.toml").open("a", encoding="utf-8") as config:
        config.write("\n[tool.mutmut]\n")
        config.writelines(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())


def _describe(place: Path, name: str) -> str:
    """Return `Class.function: old => new`."""
    shown = run(place, "mutmut", "show", name).stdout.splitlines()
    changes = [line for line in shown if re.match(r"[-+](?![-+])", line)]
    old, new = (" ".join(line[1:].strip() for line in changes if line[0] == sign) for sign in "-+")
    function = re.sub(r"^.*\.x_?|__mutmut_\d+$", "", name).strip("ǁ").replace("ǁ", ".")
    return f"{function}: {old} => {new}"
