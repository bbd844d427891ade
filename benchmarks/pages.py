"""Pages of records for the benchmarks: those of the embedded upstream, as SWR would send them."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.core.convert import PageConverter
from gateway.simulator.data import default_repositories

TOTAL = 25_000


def records(count: int) -> list[dict[str, Any]]:
    """Return the first records, each with the number of matches as newer regions send it."""
    return [{**repository.record, "total_range": TOTAL} for repository in default_repositories(count)[:count]]


def encode_row(record: dict[str, Any]) -> bytes:
    """Serialize a row as the upstream sends it."""
    return msgspec.json.encode(record)


def encode(page: list[dict[str, Any]]) -> bytes:
    """Serialize a page as the upstream sends it."""
    return msgspec.json.encode(page)


def convert(converter: PageConverter, body: bytes, limit: int) -> bytes:
    """Convert a page in one go."""
    steps = converter.convert(body, f"0-{limit}/{TOTAL}", None)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return bytes(done.value.message)
