"""Pages that were answered a while ago."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

from gateway.core.convert import SerializedPage

# All pages together, in bytes, and what each takes beside its own. A page that takes more than its share is not
# remembered: to make room for it would take the event loop too long.
MOST_BYTES = 64 * 2**20
MOST_BYTES_OF_ONE = MOST_BYTES // 16
OVERHEAD = 1024


@dataclass(frozen=True, slots=True)
class CachedPage:
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
        self._pages: LRUCache[bytes, CachedPage] = LRUCache(MOST_BYTES, getsizeof=_size)

    @property
    def size(self) -> int:
        """Bytes that are remembered; may be asked for by another thread."""
        return int(self._pages.currsize)

    def fresh(self, key: bytes) -> CachedPage | None:
        """Return a page that stands in for a new one."""
        return self._younger_than(self._ttl, key)

    def stale(self, key: bytes) -> CachedPage | None:
        """Return a page that stands in where no new one can be had."""
        return self._younger_than(self._ttl + self._stale_if_error, key)

    def age(self, cached: CachedPage) -> int:
        """Return the seconds since a page was asked for."""
        return int(self.now() - cached.asked_at)

    def store(self, key: bytes, page: SerializedPage, asked_at: float) -> None:
        """Remember a page, unless one that was asked for later is remembered already."""
        known = self._pages.get(key)
        if known is not None and known.asked_at > asked_at:
            return
        self._pages.pop(key, None)
        cached = CachedPage(page, asked_at)
        if _size(cached) <= MOST_BYTES_OF_ONE:
            self._pages[key] = cached

    def _younger_than(self, seconds: float, key: bytes) -> CachedPage | None:
        cached = self._pages.get(key)
        return cached if cached is not None and self.now() - cached.asked_at < seconds else None


def _size(cached: CachedPage) -> int:
    return sys.getsizeof(cached.page.message) + OVERHEAD
