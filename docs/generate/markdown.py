"""Tables in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# What is typed: flags, URLs, names of variables and of messages.
_TYPED = re.compile(r"(?<![\w`-])(--[a-z][a-z-]*|http(?:s|\(s\))?://[\w.:\[\]-]*|[A-Z]+(?:_[A-Z]+)+)(?![\w`*-])")


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, with its cells as they are."""
    lines = [names, ["---"] * len(names), *rows]
    return "".join(f"| {' | '.join(cells)} |\n".replace("|  |", "| |") for cells in lines)


def code(text: str) -> str:
    """Return a text as it is typed, for a cell of a table; nothing for nothing."""
    return f"`{text}`".replace("|", "\\|") if text else ""


def prose(text: str) -> str:
    """Return a sentence for a cell of a table: what is typed in it as such, and nothing in it as Markdown."""
    return _TYPED.sub(r"`\1`", text.replace("|", "\\|").replace("*", "\\*"))
