"""Where output goes: to a terminal, with a bar that shows how far a long list has come, or into a pipe or file."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn


class Screen:
    """Standard output, as a context manager.

    Args:
        bar: Draw a bar below the output; it is gone at the end.
    """

    def __init__(self, *, bar: bool) -> None:
        self._progress: Progress | None = None
        if bar:
            columns = (TextColumn("repositories"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn())
            self._progress = Progress(*columns, console=Console(soft_wrap=True), transient=True)
            self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> Self:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress:
            self._progress.stop()

    def show(self, text: str) -> None:
        """Write text, whole lines of it where there is a bar."""
        if self._progress and text:
            self._progress.console.print(text, end="", markup=False, highlight=False, emoji=False)
        else:
            sys.stdout.write(text)
            sys.stdout.flush()

    def advance(self, count: int, total: int | None) -> None:
        """Move the bar: so many more, of so many in all, as far as that is known."""
        if self._progress:
            self._progress.update(self._task, advance=count, total=total)
