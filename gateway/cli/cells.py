"""A field of a repository as text: exact for programs, short for people."""

from __future__ import annotations

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from swr_gateway_client.v1 import repos_pb2

FIELDS = tuple(field.name for field in repos_pb2.Repo.DESCRIPTOR.fields)
NUMBERS = frozenset({"size", "num_images", "num_download"})
TIMES = frozenset({"created_at", "updated_at"})
TRUTHS = frozenset({"is_public", "status"})


def exact(repo: repos_pb2.Repo, column: str) -> str:
    """Return a field with all that it holds: RFC 3339 to the nanosecond, tags separated by blanks."""
    value: Any = getattr(repo, column)
    if isinstance(value, Timestamp):
        return value.ToJsonString() if repo.HasField(column) else ""  # type: ignore[arg-type] # the stubs want a literal
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(value) if column == "tags" else str(value)


def minute(repo: repos_pb2.Repo, column: str) -> str:
    """Return a time for people: `2017-09-11 03:00`, in UTC."""
    time: Timestamp = getattr(repo, column)
    return f"{time.ToDatetime():%Y-%m-%d %H:%M}" if repo.HasField(column) else ""  # type: ignore[arg-type] # as above


def human_size(size: int) -> str:
    """Write a number of bytes for people: `191.7 MiB`."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < (1024 if unit == "B" else 1023.95):  # what would round to 1024.0 is one of the next unit
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} PiB"
