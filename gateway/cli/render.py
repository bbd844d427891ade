"""How repositories look: a table for people, JSON and CSV with exact values for programs.

Every writer is given pages one after the other and returns the text of each at once: output begins with the first.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from rich.cells import cell_len

from gateway.cli.terminal import cleaned, escaped
from swr_gateway_client.v1 import repos_pb2

FIELDS = tuple(field.name for field in repos_pb2.Repo.DESCRIPTOR.fields)
TABLE_COLUMNS = ("namespace", "name", "category", "size", "num_images", "updated_at")

_JSON_NAMES = {field.name: field.json_name for field in repos_pb2.Repo.DESCRIPTOR.fields}
_NUMBERS = frozenset({"size", "num_images", "num_download"})


class Writer(Protocol):
    """Turns pages into text."""

    def page(self, repos: Sequence[repos_pb2.Repo]) -> str:
        """Return the text of one page."""
        ...

    def end(self, position: repos_pb2.ContentRange | None) -> str:
        """Return what closes the text; the position is that of the last page, where it is known."""
        ...


class TableWriter:
    """Columns as wide as the first page needs them; what is wider later on pushes its row to the right.

    Args:
        columns: Fields to show.
        exact: Write times as they are, rather than for people.
    """

    def __init__(self, columns: Sequence[str] | None, *, exact: bool) -> None:
        self._columns = columns or TABLE_COLUMNS
        self._exact = exact
        self._widths: list[int] = []
        self._count = 0

    def page(self, repos: Sequence[repos_pb2.Repo]) -> str:
        """Return the lines of the repositories, behind the line of the columns' names where they are the first."""
        rows = [[cleaned(self._cell(repo, column)) for column in self._columns] for repo in repos]
        if not self._widths:
            rows.insert(0, [column.removeprefix("num_").removesuffix("_at").upper() for column in self._columns])
            self._widths = [max(map(cell_len, cells)) for cells in zip(*rows, strict=True)]
        self._count += len(repos)
        return "".join(self._line(row) for row in rows)

    def end(self, position: repos_pb2.ContentRange | None) -> str:
        """Return a line that says how many there are."""
        shown = f"{self._count} {'repository' if self._count == 1 else 'repositories'}"
        if position is None:
            return f"\n{shown}\n"
        place = f", from offset {position.offset}," if position.count == self._count else ""
        return f"\n{shown}{place} of {position.total} in all\n"

    def _line(self, row: Sequence[str]) -> str:
        cells = []
        for column, cell, width in zip(self._columns, row, self._widths, strict=True):
            blank = " " * (width - cell_len(cell))
            cells.append(blank + cell if column in _NUMBERS else cell + blank)
        return "  ".join(cells).rstrip() + "\n"

    def _cell(self, repo: repos_pb2.Repo, column: str) -> str:
        value: Any = getattr(repo, column)
        if not self._exact and isinstance(value, Timestamp) and repo.HasField(column):  # type: ignore[arg-type] # the stubs want a literal
            return f"{value.ToDatetime():%Y-%m-%d %H:%M:%S}"
        return human_size(value) if column == "size" else _text(repo, column)


class JsonWriter:
    """One document, with exact values: `{"repos": [...], "contentRange": {...}}`."""

    def __init__(self, columns: Sequence[str] | None) -> None:
        self._columns = columns
        self._begun = False

    def page(self, repos: Sequence[repos_pb2.Repo]) -> str:
        """Return the page's objects, a line each, separated from those before."""
        lines = []
        for repo in repos:
            lines.append((", " if self._begun else '{"repos": [\n  ') + _to_json(repo, self._columns) + "\n")
            self._begun = True
        return "".join(lines)

    def end(self, position: repos_pb2.ContentRange | None) -> str:
        """Close the document."""
        opening = "" if self._begun else '{"repos": ['
        known = "" if position is None else f', "contentRange": {json.dumps(_position(position))}'
        return f"{opening}]{known}}}\n"


class NdjsonWriter:
    """One JSON object a line, with exact values."""

    def __init__(self, columns: Sequence[str] | None) -> None:
        self._columns = columns

    def page(self, repos: Sequence[repos_pb2.Repo]) -> str:
        """Return the page's lines."""
        return "".join(_to_json(repo, self._columns) + "\n" for repo in repos)

    def end(self, position: repos_pb2.ContentRange | None) -> str:
        """Return nothing: every line stands for itself."""
        return ""


class CsvWriter:
    """A header line and a line each, with exact values; tags are separated by blanks.

    Args:
        columns: Fields to write.
        exact: Write control characters as they are, rather than for a terminal. CSV has no way to escape them.
    """

    def __init__(self, columns: Sequence[str] | None, *, exact: bool) -> None:
        self._columns = columns or FIELDS
        self._exact = exact
        self._begun = False

    def page(self, repos: Sequence[repos_pb2.Repo]) -> str:
        """Return the page's lines."""
        header = [] if self._begun else [self._columns]
        self._begun = True
        return _csv([*header, *([self._cell(repo, column) for column in self._columns] for repo in repos)])

    def end(self, position: repos_pb2.ContentRange | None) -> str:
        """Return nothing, or the header line where there was no page."""
        return "" if self._begun else self.page(())

    def _cell(self, repo: repos_pb2.Repo, column: str) -> str:
        text = _text(repo, column)
        return text if self._exact else cleaned(text)


OUTPUTS = ("table", "json", "ndjson", "csv")


def make_writer(output: str, columns: Sequence[str] | None, *, exact: bool) -> Writer:
    """Return the writer of one of OUTPUTS.

    Args:
        output: Its name.
        columns: Fields to write; None means the writer's own choice: all, but for the table.
        exact: Whether a table writes exact times, and CSV control characters: not on a terminal.
    """
    match output:
        case "json":
            return JsonWriter(columns)
        case "ndjson":
            return NdjsonWriter(columns)
        case "csv":
            return CsvWriter(columns, exact=exact)
        case _:
            return TableWriter(columns, exact=exact)


def human_size(size: int) -> str:
    """Write a number of bytes for people: `191.7 MiB`."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < (1024 if unit == "B" else 1023.95):  # what would round to 1024.0 is one of the next unit
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} PiB"


def _text(repo: repos_pb2.Repo, column: str) -> str:
    value: Any = getattr(repo, column)
    if isinstance(value, Timestamp):
        return value.ToJsonString() if repo.HasField(column) else ""  # type: ignore[arg-type] # the stubs want a literal
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(value) if column == "tags" else str(value)


def _to_json(repo: repos_pb2.Repo, columns: Sequence[str] | None) -> str:
    known = json_format.MessageToDict(repo, always_print_fields_with_no_presence=True)
    # Protobuf's JSON has them as texts, which `select(.size > 1e12)` of jq takes for more than any number.
    known |= {_JSON_NAMES[column]: getattr(repo, column) for column in _NUMBERS}
    names = (_JSON_NAMES[column] for column in columns or FIELDS)
    return escaped(json.dumps({name: known[name] for name in names if name in known}, ensure_ascii=False))


def _position(position: repos_pb2.ContentRange) -> Mapping[str, int]:
    return {"offset": position.offset, "count": position.count, "total": position.total}


def _csv(rows: Iterable[Sequence[str]]) -> str:
    output = io.StringIO()
    csv.writer(output, lineterminator="\n").writerows(rows)
    return output.getvalue()
