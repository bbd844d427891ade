"""How repositories look: a table for people, JSON and CSV with exact values for programs.

Every writer is given pages one after the other and returns the text of each at once: output begins with the first.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from google.protobuf import json_format

from gateway.cli.cells import FIELDS, NUMBERS, exact
from gateway.cli.table import TableWriter
from gateway.cli.terminal import Terminal
from gateway.core.printable import cleaned, escaped
from swr_gateway_client.v1 import repos_pb2

_JSON_NAMES = {field.name: field.json_name for field in repos_pb2.Repo.DESCRIPTOR.fields}


class Writer(Protocol):
    """Turns pages into text."""

    def page(self, repos: Sequence[repos_pb2.Repo]) -> str:
        """Return the text of one page."""
        ...

    def end(self, position: repos_pb2.ContentRange | None) -> str:
        """Return what closes the text; the position is that of the last page, where it is known."""
        ...


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

    CSV has no way to escape control characters. A program in a pipe is given them as they are, for it compares what it
    reads; a terminal is given U+FFFD.

    Args:
        columns: Fields to write.
        terminal: Where it goes, if that is a terminal.
    """

    def __init__(self, columns: Sequence[str] | None, terminal: Terminal | None) -> None:
        self._columns = columns or FIELDS
        self._terminal = terminal
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
        return cleaned(exact(repo, column)) if self._terminal else exact(repo, column)


OUTPUTS = ("table", "json", "ndjson", "csv")


def make_writer(output: str, columns: Sequence[str] | None, terminal: Terminal | None) -> Writer:
    """Return the writer of one of OUTPUTS.

    Args:
        output: Its name.
        columns: Fields to write; None means the writer's own choice: all, but for the table.
        terminal: Where the output goes, if that is a terminal: people read it there.
    """
    match output:
        case "json":
            return JsonWriter(columns)
        case "ndjson":
            return NdjsonWriter(columns)
        case "csv":
            return CsvWriter(columns, terminal)
        case _:
            return TableWriter(columns, terminal)


def _to_json(repo: repos_pb2.Repo, columns: Sequence[str] | None) -> str:
    known = json_format.MessageToDict(repo, always_print_fields_with_no_presence=True)
    # Protobuf's JSON has them as texts, which `select(.size > 1e12)` of jq takes for more than any number.
    known |= {_JSON_NAMES[column]: getattr(repo, column) for column in NUMBERS}
    names = (_JSON_NAMES[column] for column in columns or FIELDS)
    return escaped(json.dumps({name: known[name] for name in names if name in known}, ensure_ascii=False))


def _position(position: repos_pb2.ContentRange) -> Mapping[str, int]:
    return {"offset": position.offset, "count": position.count, "total": position.total}


def _csv(rows: Iterable[Sequence[str]]) -> str:
    output = io.StringIO()
    csv.writer(output, lineterminator="\n").writerows(rows)
    return output.getvalue()
