"""The table of harm, in Markdown: a row for each number, a column for each subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.chaos.scenario import Outcome, Scenario

_WIDTHS = (20, 50, 8)
_COLUMN = 8


def heading(subjects: Sequence[str]) -> str:
    """Return the first lines of the table."""
    titles = _row(("scenario", "number", "promised"), subjects)
    return f"{titles}\n{_row(('---',) * 3, ['---'] * len(subjects))}"


def rows(chosen: Scenario, outcomes: Mapping[str, Outcome]) -> str:
    """Return the lines of a scenario: a number that breaks its promise in bold, and `-` where it was not played."""
    return "\n".join(
        _row(
            (chosen.name, name, f"{most:g}"),
            [_cell(outcome, name, most) for outcome in outcomes.values()],
        )
        for name, most in chosen.promise.items()
    )


def _cell(outcome: Outcome, name: str, most: float) -> str:
    if name not in outcome.numbers:
        return "-" if outcome.kept else "**?**"
    number = outcome.numbers[name]
    text = _text(number)
    return text if number <= most else f"**{text}**"


def _text(number: float) -> str:
    """Show no more digits than mean something: calls and MiB as whole numbers, seconds and CPUs with what is behind."""
    if number == round(number) or number >= 100:
        return f"{number:.0f}"
    return f"{number:.1f}" if number >= 1 else f"{number:.2f}"


def _row(first: Sequence[str], others: Sequence[str]) -> str:
    cells = [text.ljust(width) for text, width in zip(first, _WIDTHS, strict=True)]
    return f"| {' | '.join([*cells, *(text.rjust(_COLUMN) for text in others)])} |"
