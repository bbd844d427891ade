"""What `make mutants` breaks is there: it runs seldom, and code moves meanwhile."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def read(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / "mutation" / name).read_text(encoding="utf-8"))


def source(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def test_what_is_broken_by_hand_is_in_its_file_once() -> None:
    found = {mutant["name"]: source(mutant["file"]).count(mutant["old"]) for mutant in read("by_hand.toml")["mutant"]}
    assert {name: times for name, times in found.items() if times != 1} == {}


def test_a_mutant_that_has_a_reason_changes_a_line_that_is_there() -> None:
    missing = [
        mutant
        for file, groups in read("survivors.toml").items()
        for group in groups
        for mutant in group["mutants"]
        if mutant.partition(": ")[2].partition(" => ")[0] not in " ".join(source(file).split())
    ]
    assert missing == []


def test_files_and_the_tests_that_are_to_notice_are_there() -> None:
    files = read("files.toml")
    named = {*files, *read("survivors.toml"), *(test.partition("::")[0] for tests in files.values() for test in tests)}
    assert {name for name in named if not (ROOT / name).is_file()} == set()
