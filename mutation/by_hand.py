"""Mutants that are written by hand, in by_hand.toml: each breaks a rule that no test noticed once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mutation.workplace import PYTEST, check, run, workplace

TESTS = "tests/test_rules_that_hide.py"


class Mutant(NamedTuple):
    """A text in a file, which is there once, and what it is replaced by."""

    name: str
    file: str
    old: str
    new: str


def survivors(mutants: list[Mutant]) -> Iterator[str]:
    """Yield the names of those that the tests do not notice.

    Raises:
        SystemExit: The tests fail without any, or the text of one is not in its file, or more than once.
    """
    with workplace() as place:
        check(place, TESTS)
        for mutant in mutants:
            path = place / mutant.file
            whole = path.read_text(encoding="utf-8")
            if whole.count(mutant.old) != 1:
                raise SystemExit(f"error: by_hand.toml, {mutant.name!r}: its text must be in {mutant.file} once")
            path.write_text(whole.replace(mutant.old, mutant.new), encoding="utf-8")
            if run(place, "pytest", "-xq", *PYTEST, TESTS).returncode == 0:
                yield mutant.name
            path.write_text(whole, encoding="utf-8")
