"""Bounded memories of what was converted already: rows by their text, and whole pages by theirs.

Both remember a pure function by its whole input: an entry is never stale, and a hit tells a caller nothing that the
upstream has not just sent for this very call. Pages serve callers who poll an unchanged list, rows those whose list
has changed a bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

# What an entry costs beside its key and value: two object headers and a slot in the dictionary, rounded up.
ENTRY_OVERHEAD = 200
# A row with hundreds of tags is rare, and takes the room of dozens of plain ones.
MAX_ROW_BYTES = 8192

Value = TypeVar("Value")


class _Generations(Generic[Value]):
    """A dictionary bounded in bytes that needs no bookkeeping on a hit.

    When the young generation is full it becomes the old one, and the old one is forgotten; a hit in the old one moves
    up.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_entry_bytes = max_bytes // 2
        self.young: dict[bytes, Value] = {}
        self.old: dict[bytes, Value] = {}
        self._young_bytes = 0

    def add(self, entries: Iterable[tuple[bytes, Value]], cost: int) -> None:
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
        self._generations = _Generations[bytes](max_bytes)

    def find(self, rows: list[bytes]) -> list[bytes | None]:
        """Return what is remembered for each row, None where nothing is."""
        found = list(map(self._generations.young.get, rows))
        if self._generations.old and None in found:
            self._move_up(rows, found)
        return found

    def remember(self, rows: list[bytes], fields: list[bytes]) -> None:
        """Keep the serialized field of each row, but for rows too large to be worth it."""
        entries = list(zip(rows, fields, strict=True))
        if max(map(len, rows), default=0) > MAX_ROW_BYTES:
            entries = [entry for entry in entries if len(entry[0]) <= MAX_ROW_BYTES]
        cost = sum(len(row) + len(field) + ENTRY_OVERHEAD for row, field in entries)
        if cost > self._generations.max_entry_bytes and len(rows) > 1:
            half = len(rows) // 2
            self.remember(rows[:half], fields[:half])
            self.remember(rows[half:], fields[half:])
        else:
            self._generations.add(entries, cost)

    def _move_up(self, rows: list[bytes], found: list[bytes | None]) -> None:
        old = self._generations.old
        moved = []
        for index, field in enumerate(found):
            if field is None and (field := old.get(rows[index])) is not None:
                found[index] = field
                moved.append((rows[index], field))
        self.remember([row for row, _ in moved], [field for _, field in moved])


class PageMemo:
    """Remembers the serialized `repos` fields of a page, and how many they are, by the page's JSON text.

    Args:
        max_bytes: Memory for entries.
    """

    def __init__(self, max_bytes: int) -> None:
        self._generations = _Generations[tuple[int, bytes]](max_bytes)

    def find(self, body: bytes) -> tuple[int, bytes] | None:
        """Return the number of rows and their serialized fields, or None where the page is not remembered."""
        if len(body) > self._generations.max_entry_bytes:
            return None  # not worth the look: it takes a hash of all of it
        page = self._generations.young.get(body)
        if page is None and (page := self._generations.old.get(body)) is not None:
            self.remember(body, page)
        return page

    def remember(self, body: bytes, page: tuple[int, bytes]) -> None:
        """Keep a page's number of rows and their serialized fields."""
        self._generations.add([(body, page)], len(body) + len(page[1]) + ENTRY_OVERHEAD)
