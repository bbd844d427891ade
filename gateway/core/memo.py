"""Bounded memories of what was converted already: rows by their text, and whole pages by theirs.

Both remember a pure function by its whole input: an entry is never stale, and a hit tells a caller nothing that the
upstream has not just sent for this very call. Pages serve callers who poll an unchanged list, rows those whose list
has changed a bit.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

from gateway.core.filter import Page
from gateway.core.pages import SerializedPage

# What an entry of rows costs beside the bytes of its key and value: two object headers and a slot in the dictionary,
# rounded up; one of pages has tuples and numbers in both.
ENTRY_OVERHEAD = 200
PAGE_OVERHEAD = 600
# A row with hundreds of tags is rare, and takes the room of dozens of plain ones.
MAX_ROW_BYTES = 8192

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class _Generations(Generic[Key, Value]):
    """A dictionary bounded in bytes that needs no bookkeeping on a hit.

    When the young generation is full it becomes the old one, and the old one is forgotten; a hit in the old one moves
    up.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_entry_bytes = max_bytes // 2
        self.young: dict[Key, Value] = {}
        self.old: dict[Key, Value] = {}
        self._young_bytes = 0

    def add(self, entries: Iterable[tuple[Key, Value]], cost: int) -> None:
        if cost > self.max_entry_bytes:
            return
        if self._young_bytes + cost > self.max_entry_bytes:
            self.old, self.young, self._young_bytes = self.young, {}, 0
        self.young.update(entries)
        self._young_bytes += cost


class RowMemo:
    """Remembers the serialized `repos` field of a row by the row's JSON text.

    Args:
        max_bytes: Memory for entries.
    """

    def __init__(self, max_bytes: int) -> None:
        self._generations = _Generations[bytes, bytes](max_bytes)

    def find(self, rows: list[bytes]) -> list[bytes | None]:
        """Return what is remembered for each row, None where nothing is."""
        found = list(map(self._generations.young.get, rows))
        if self._generations.old and None in found:
            self._move_up(rows, found)
        return found

    def remember(self, rows: list[bytes], fields: list[bytes]) -> None:
        """Keep the serialized field of each row, but for rows too large to be worth it."""
        if max(map(len, rows), default=0) > MAX_ROW_BYTES:
            kept = [index for index, row in enumerate(rows) if len(row) <= MAX_ROW_BYTES]
            rows, fields = [rows[index] for index in kept], [fields[index] for index in kept]
        cost = sum(map(len, rows)) + sum(map(len, fields)) + len(rows) * ENTRY_OVERHEAD
        if cost > self._generations.max_entry_bytes and len(rows) > 1:
            half = len(rows) // 2
            self.remember(rows[:half], fields[:half])
            self.remember(rows[half:], fields[half:])
        else:
            self._generations.add(zip(rows, fields, strict=True), cost)

    def _move_up(self, rows: list[bytes], found: list[bytes | None]) -> None:
        old = self._generations.old
        moved = []
        for index, field in enumerate(found):
            if field is None and (field := old.get(rows[index])) is not None:
                found[index] = field
                moved.append((rows[index], field))
        self.remember([row for row, _ in moved], [field for _, field in moved])


class PageSource(NamedTuple):
    """All that a reply is made of: the upstream's JSON and Content-Range, and the page that was asked for."""

    body: bytes
    content_range: str | None
    page: Page | None


class PageMemo:
    """Remembers the reply that was made of a page.

    Args:
        max_bytes: Memory for entries.

    Attributes:
        max_body_bytes: None larger is remembered, so none is worth a look, which takes a hash of all of it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._generations = _Generations[PageSource, SerializedPage](max_bytes)
        self.max_body_bytes = self._generations.max_entry_bytes

    def find(self, source: PageSource) -> SerializedPage | None:
        """Return the reply, or None where it is not remembered."""
        reply = self._generations.young.get(source)
        if reply is None and (reply := self._generations.old.get(source)) is not None:
            self.remember(source, reply)
        return reply

    def remember(self, source: PageSource, reply: SerializedPage) -> None:
        """Keep a reply."""
        size = len(source.body) + len(source.content_range or "") + len(reply.message)
        self._generations.add([(source, reply)], size + PAGE_OVERHEAD)
