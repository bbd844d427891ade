"""How a page looks: a table for people, JSON and CSV with every field and exact values for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table

from gateway.swr.v1 import repos_pb2

_FIELDS = tuple(field.name for field in repos_pb2.Repo.DESCRIPTOR.fields)


def as_table(page: repos_pb2.ListReposResponse) -> str:
    """Render the columns that people look for, and where the page lies."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column, justify in (("NAMESPACE", "left"), ("NAME", "left"), ("CATEGORY", "left"), ("SIZE", "right")):
        table.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    table.add_column("IMAGES", justify="right")
    table.add_column("UPDATED", no_wrap=True)
    for repo in page.repos:
        table.add_row(
            _printable(repo.namespace),
            _printable(repo.name),
            _printable(repo.category),
            human_size(repo.size),
            str(repo.num_images),
            repo.updated_at.ToJsonString() if repo.HasField("updated_at") else "",
        )
    console = Console(file=io.StringIO(), width=160, no_color=True, markup=False, emoji=False, highlight=False)
    console.print(table)
    output = console.file.getvalue()  # type: ignore[attr-defined]
    lines = [line.rstrip() for line in output.splitlines()]
    return "\n".join([*lines, "", describe_position(page), ""])


def describe_position(page: repos_pb2.ListReposResponse) -> str:
    """Say in words where a page lies among all matches."""
    shown = f"{len(page.repos)} {'repository' if len(page.repos) == 1 else 'repositories'}"
    if not page.HasField("content_range"):
        return shown
    position = page.content_range
    return f"{shown}, from offset {position.offset}, of {position.total} in all"


def as_json(page: repos_pb2.ListReposResponse) -> str:
    """Render as protobuf's JSON, with every field."""
    return json_format.MessageToJson(page, always_print_fields_with_no_presence=True, ensure_ascii=False) + "\n"


def as_ndjson(page: repos_pb2.ListReposResponse) -> str:
    """Render one JSON object a line."""
    records = (json_format.MessageToDict(repo, always_print_fields_with_no_presence=True) for repo in page.repos)
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def as_csv(page: repos_pb2.ListReposResponse) -> str:
    """Render as CSV with a header line, tags separated by blanks."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(_FIELDS)
    writer.writerows(_cells(repo) for repo in page.repos)
    return output.getvalue()


RENDERERS: dict[str, Callable[[repos_pb2.ListReposResponse], str]] = {
    "table": as_table,
    "json": as_json,
    "ndjson": as_ndjson,
    "csv": as_csv,
}


def human_size(size: int) -> str:
    """Write a number of bytes for people: `191.7 MiB`."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < (1024 if unit == "B" else 1023.95):  # what would round to 1024.0 is one of the next unit
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} PiB"


def _printable(text: str) -> str:
    """What an upstream sends must not give orders to a terminal."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _cells(repo: repos_pb2.Repo) -> Iterable[str]:
    for name in _FIELDS:
        value: Any = getattr(repo, name)
        if isinstance(value, Timestamp):
            yield value.ToJsonString() if repo.HasField(name) else ""  # type: ignore[arg-type]
        elif isinstance(value, bool):
            yield str(value).lower()
        elif name == "tags":
            yield " ".join(value)
        else:
            yield str(value)
