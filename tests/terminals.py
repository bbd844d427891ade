"""Commands on a pseudo-terminal, as people have them."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.cells import cell_len

from commands import PATIENCE, Start

_COLOURS = re.compile(r"\x1b\[[\d;]*m")


@dataclass(frozen=True)
class Drawn:
    """What a command drew on its terminal, and how it ended."""

    code: int
    raw: str

    @property
    def text(self) -> str:
        """All of it, without colours."""
        return _COLOURS.sub("", self.raw)

    @property
    def lines(self) -> list[str]:
        """The lines, without colours."""
        return self.text.splitlines()

    @property
    def width(self) -> int:
        """Columns that the widest line takes."""
        return max(map(cell_len, self.lines), default=0)


@contextmanager
def terminal(columns: int) -> Iterator[tuple[int, int]]:
    """Open a terminal; yield the end that people read, and the one that a command is given."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    try:
        yield ours, theirs
    finally:
        os.close(ours)


async def on_terminal(
    start: Start, *arguments: str, columns: int = 80, errors: bool = False, **variables: str
) -> Drawn:
    """Run a command to its end.

    Args:
        start: What starts it.
        arguments: Of the command.
        columns: Of the terminal.
        errors: Have it write standard error there, and not standard output.
        variables: Of its environment.
    """
    with terminal(columns) as (ours, theirs):
        stream = {"stderr" if errors else "stdout": theirs}
        command = await start(*arguments, **stream, **{"TERM": "xterm"} | variables)
        os.close(theirs)
        async with asyncio.timeout(PATIENCE):
            raw = await asyncio.to_thread(drain, ours)
    return Drawn((await command.ends()).code, raw)


def drain(ours: int) -> str:
    """Read a terminal until nobody writes to it any more."""
    drawn = b""
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # what reading from a terminal ends with then
            part = b""
        if not part:
            return drawn.decode()
        drawn += part
