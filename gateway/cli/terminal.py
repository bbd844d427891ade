"""The terminal that a stream leads to: how wide it is, and whether colours are welcome."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TextIO

import click

# Of a terminal that does not say how wide it is.
_COLUMNS = 80


@dataclass(frozen=True)
class Terminal:
    """A terminal that people read.

    Attributes:
        width: Its columns.
        colours: Whether it shows colours: not where NO_COLOR is set, or where it is `dumb`.
    """

    width: int
    colours: bool

    def paint(self, text: str, colour: str) -> str:
        """Return a text in a colour, where there are any."""
        return click.style(text, fg=colour) if self.colours else text


def find_terminal(stream: TextIO | None) -> Terminal | None:
    """Return the terminal that a stream leads to, or None where it is a pipe, a file, or closed."""
    if stream is None or not stream.isatty():
        return None
    colours = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    # `shutil` looks at COLUMNS and at standard output, which may be none where this stream is one.
    own = os.get_terminal_size(stream.fileno())
    return Terminal(shutil.get_terminal_size(fallback=(own.columns or _COLUMNS, own.lines)).columns, colours)
