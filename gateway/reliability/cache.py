"""The page cache: replies that were fetched a while ago, for a time and within a bound of memory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from cachetools import LRUCache

from gateway.core.pages import SerializedPage

# All pages together, in bytes, and what each takes beside its own. A page that takes more than its share is not
# remembered: to make room for it would take the event loop too long.
MAX_BYTES = 64 * 2**20
MAX_BYTES_OF_ONE = MAX_BYTES // 16
OVERHEAD = 1024


class CacheStatus(StrEnum):
    """Why a remembered page is the answer: it is fresh, or no new one can be had."""

    HIT = "hit"
    STALE = "stale"


class CacheInfo(NamedTuple):
    """What a call is told of a remembered page.

    Attributes:
        status: Why it is the answer.
        age: Seconds since it was asked for.
    """

    status: CacheStatus
    age: int


class CacheHit(NamedTuple):
    """A remembered page."""

    page: SerializedPage
    info: CacheInfo


@dataclass(frozen=True, slots=True)
class _Entry:
    """A serialized reply, and when it was asked for."""

    page: SerializedPage
    asked_at: float


class PageCache:
    """Remembers pages for a time; the least recently used are forgotten first.

    Args:
        ttl: Seconds for which a page stands in for a new one.
        stale_if_error: Seconds beyond those for which it stands in where no new one can be had.
        now: Seconds, on any clock that does not go back.
    """

    def __init__(self, ttl: float, stale_if_error: float, now: Callable[[], float]) -> None:
        self._ttl = ttl
        self._stale_if_error = stale_if_error
        self.now = now
        self._entries: LRUCache[bytes, _Entry] = LRUCache(MAX_BYTES, getsizeof=_size)

    @property
    def size(self) -> int:
        """Bytes that are remembered; may be asked for by another thread."""
        return int(self._entries.currsize)

    def fresh(self, key: bytes) -> CacheHit | None:
        """Return a page that stands in for a new one."""
        return self._younger_than(self._ttl, key, CacheStatus.HIT)

    def stale(self, key: bytes) -> CacheHit | None:
        """Return a page that stands in where no new one can be had."""
        return self._younger_than(self._ttl + self._stale_if_error, key, CacheStatus.STALE)

    def store(self, key: bytes, page: SerializedPage, asked_at: float) -> None:
        """Remember a page, unless one that was asked for later is remembered already."""
        known = self._entries.get(key)
        if known is not None and known.asked_at > asked_at:
            return
        self._entries.pop(key, None)
        entry = _Entry(page, asked_at)
        if _size(entry) <= MAX_BYTES_OF_ONE:
            self._entries[key] = entry

    def _younger_than(self, seconds: float, key: bytes, status: CacheStatus) -> CacheHit | None:
        entry = self._entries.get(key)
        if entry is None or (age := self.now() - entry.asked_at) >= seconds:
            return None
        return CacheHit(entry.page, CacheInfo(status, int(age)))


def _size(entry: _Entry) -> int:
    return sys.getsizeof(entry.page.message) + OVERHEAD
