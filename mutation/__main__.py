"""`python -m mutation [FILE ...]`: break these files, or all that are known, and tell what no test notices.

    files.toml       files for mutmut, and the tests that are to notice
    by_hand.toml     further mutants, which must all be noticed
    survivors.toml   mutants that need not be noticed, and why

Ends with 1 where a mutant survives without a reason, and where a reason is there for none that survives.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

from mutation import by_hand, generated

HERE = Path(__file__).parent


def main(wanted: list[str]) -> int:
    """Test the mutants of some files, or of all."""
    files, reasons = _read("files.toml"), _read("survivors.toml")
    written = [by_hand.Mutant(**mutant) for mutant in _read("by_hand.toml")["mutant"]]
    known = dict.fromkeys([*files, *(mutant.file for mutant in written)])
    if unknown := set(wanted) - set(known):
        raise SystemExit(f"error: no mutants of {', '.join(unknown)}: name one of {', '.join(known)}")
    complaints = _test_by_hand([mutant for mutant in written if not wanted or mutant.file in wanted])
    for file, tests in files.items():
        if not wanted or file in wanted:
            excused = {mutant for group in reasons.get(file, ()) for mutant in group["mutants"]}
            complaints += _test_generated(file, tests, excused)
    return 1 if complaints else 0


def _test_by_hand(mutants: list[by_hand.Mutant]) -> int:
    if not mutants:
        return 0
    survivors = list(by_hand.survivors(mutants))
    _tell("by hand", len(mutants), len(survivors))
    return _complain("no test notices", survivors)


def _test_generated(file: str, tests: list[str], excused: set[str]) -> int:
    mutants, survivors = generated.test(file, tests)
    _tell(file, mutants, len(survivors))
    alive = set(survivors)
    return _complain("no test notices, and no reason is given", alive - excused) + _complain(
        "a reason is given in survivors.toml, and a test notices, or there is no such mutant", excused - alive
    )


def _tell(what: str, mutants: int, survivors: int) -> None:
    print(f"{what:34} {mutants:4} mutants, {mutants - survivors:4} killed, {survivors:3} survivors", flush=True)


def _complain(problem: str, mutants: set[str] | list[str]) -> int:
    for mutant in sorted(mutants):
        print(f"  {problem}:\n    {mutant}", flush=True)
    return len(mutants)


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((HERE / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
