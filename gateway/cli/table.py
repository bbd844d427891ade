"""A table for people: one repository, one line, however narrow the terminal is."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from gateway.cli.cells import NUMBERS, TIMES, TRUTHS, exact, human_size, minute
from gateway.cli.terminal import Terminal
from gateway.core.printable import cleaned
from swr_gateway_client.v1 import repos_pb2

COLUMNS = ("namespace", "name", "category", "size", "num_images", "updated_at")

_GAP = "  "
_NEVER_CUT = NUMBERS | TIMES | TRUTHS
_PUBLIC = "yellow"
_TELLING = frozenset({"name", "is_public"})  # what is painted in it


class TableWriter:
    """Columns as wide as the first page needs them.

    On a terminal what does not fit into a line is cut, and ends in an ellipsis; times are to the minute, and public
    repositories are coloured. Elsewhere everything is whole, and a cell of a later page that is wider than its column
    pushes its row to the right.

    Args:
        columns: Fields to show.
        terminal: Where the table goes, if that is a terminal.
    """

    def __init__(self, columns: Sequence[str] | None, terminal: Terminal | None) -> None:
        self._columns = columns or COLUMNS
        self._terminal = terminal
        self._widths: list[int] = []
        self._least: list[int] = []
        self._count = self._public = 0

    def page(self, repos: Sequence[repos_pb2.Repo]) -> str:
        """Return the lines of the repositories, behind the line of the columns' names where they are the first."""
        rows = [[cleaned(self._cell(repo, column)) for column in self._columns] for repo in repos]
        lines = []
        if not self._widths:
            names = list(map(self._name, self._columns))
            self._widths = self._fit(names, rows)
            lines.append(self._line(names, public=False))
        self._count += len(repos)
        self._public += sum(repo.is_public for repo in repos)
        lines += (self._line(row, public=repo.is_public) for row, repo in zip(rows, repos, strict=True))
        return "".join(lines)

    def end(self, position: repos_pb2.ContentRange | None) -> str:
        """Return a line that says how many there are."""
        told = f"{self._count} {'repository' if self._count == 1 else 'repositories'}"
        if position is not None:
            place = f", from offset {position.offset}," if position.count == self._count else ""
            told += f"{place} of {position.total} in all"
        if self._terminal and self._public:
            told += ", " + self._terminal.paint(f"{self._public} public", _PUBLIC)
        return f"\n{told}\n"

    def _name(self, column: str) -> str:
        name = column.removeprefix("num_").removesuffix("_at").upper()
        return f"{name} (UTC)" if self._terminal and column in TIMES else name

    def _cell(self, repo: repos_pb2.Repo, column: str) -> str:
        if self._terminal and column in TIMES:
            return minute(repo, column)
        return human_size(repo.size) if column == "size" else exact(repo, column)

    def _fit(self, names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
        """Return the widths of the columns; on a terminal so that they fit into a line, if that can be."""
        self._least = list(map(cell_len, names))
        lengths = [sorted(map(cell_len, cells)) for cells in zip(*rows, strict=True)] or [[0]] * len(names)
        widths = [max(some[-1], low) for some, low in zip(lengths, self._least, strict=True)]
        return self._narrowed(widths, lengths)

    def _narrowed(self, widths: list[int], lengths: Sequence[Sequence[int]]) -> list[int]:
        """Return the widths that fit into a line of the terminal, if that can be: only texts are made narrower.

        Args:
            widths: Those that are wanted.
            lengths: Of the cells of each column, the shortest first.
        """
        if self._terminal is None:
            return widths
        excess = sum(widths) + len(_GAP) * (len(widths) - 1) - self._terminal.width
        texts = [index for index, column in enumerate(self._columns) if column not in _NEVER_CUT]
        for _ in range(excess):
            able = [index for index in texts if widths[index] > self._least[index]]
            if not able:
                break
            # A column is made narrower where that cuts the fewest cells: one name of 128 characters is cut first.
            chosen = min(able, key=lambda index: len(lengths[index]) - bisect_left(lengths[index], widths[index]))
            widths[chosen] -= 1
        return widths

    def _line(self, row: Sequence[str], *, public: bool) -> str:
        cells = _padded(self._columns, row, self._widths)
        if self._terminal is None:
            return _joined(cells) + "\n"
        if cell_len(_joined(cells)) > self._terminal.width:
            widths = self._widths_of(row)
            cells = _padded(self._columns, list(map(_cut, row, widths)), widths)
        if cell_len(_joined(cells)) > self._terminal.width:  # so many columns that their names alone do not fit
            return _cut(_joined(cells), self._terminal.width) + "\n"
        if public:
            cells = [self._painted(column, cell) for column, cell in zip(self._columns, cells, strict=True)]
        return _joined(cells) + "\n"

    def _widths_of(self, row: Sequence[str]) -> list[int]:
        """Return the widths for a row that is wider than its columns: a number is whole, and texts give way to it."""
        widths = [
            max(width, cell_len(cell)) if column in _NEVER_CUT else width
            for column, cell, width in zip(self._columns, row, self._widths, strict=True)
        ]
        return self._narrowed(widths, [[cell_len(cell)] for cell in row])

    def _painted(self, column: str, cell: str) -> str:
        """Return a cell of a public repository."""
        if self._terminal is None or column not in _TELLING:
            return cell
        text = cell.rstrip()
        return self._terminal.paint(text, _PUBLIC) + cell[len(text) :]


def _padded(columns: Sequence[str], row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = []
    for column, cell, width in zip(columns, row, widths, strict=True):
        blank = " " * (width - cell_len(cell))
        cells.append(blank + cell if column in NUMBERS else cell + blank)
    return cells


def _joined(cells: Sequence[str]) -> str:
    return _GAP.join(cells).rstrip()


def _cut(text: str, width: int) -> str:
    """Return a text that is no wider, ended by an ellipsis where it was."""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"
