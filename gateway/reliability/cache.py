"""Pages that were answered a while ago."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from cachetools import TTLCache

from gateway.core.convert import SerializedPage

# All pages together, in bytes, with what it takes to find them.
MOST_BYTES = 64 * 2**20
OVERHEAD = 512


@dataclass(frozen=True, slots=True)
class CachedPage:
    """A serialized reply, and when it was stored."""

    page: SerializedPage
    stored_at: float


class PageCache:
    """Remembers pages for a time, the least recently used of which are forgotten first.

    Args:
        ttl: Seconds for which a page stands in for a new one.
        stale_if_error: Seconds beyond those for which it stands in where no new one can be had.
        now: Seconds, on any clock that does not go back.
    """

    def __init__(self, ttl: float, stale_if_error: float, now: Callable[[], float]) -> None:
        self._ttl = ttl
        self._now = now
        self._lock = threading.Lock()
        self._pages: TTLCache[Hashable, CachedPage] = TTLCache(
            MOST_BYTES, ttl + stale_if_error, timer=now, getsizeof=_size
        )

    @property
    def size(self) -> int:
        """Bytes that are remembered."""
        with self._lock:  # it is asked for from another thread, and forgets what is over
            return int(self._pages.currsize)

    def fresh(self, key: Hashable) -> CachedPage | None:
        """Return a page that stands in for a new one."""
        cached = self.stale(key)
        return cached if cached is not None and self._now() - cached.stored_at < self._ttl else None

    def stale(self, key: Hashable) -> CachedPage | None:
        """Return a page that stands in where no new one can be had."""
        with self._lock:
            return self._pages.get(key)

    def age(self, cached: CachedPage) -> int:
        """Return the seconds since a page was stored."""
        return int(self._now() - cached.stored_at)

    def store(self, key: Hashable, page: SerializedPage) -> None:
        """Remember a page; one that is larger than all room is not."""
        cached = CachedPage(page, self._now())
        with self._lock:
            self._pages.pop(key, None)
            if _size(cached) <= MOST_BYTES:
                self._pages[key] = cached


def _size(cached: CachedPage) -> int:
    return sys.getsizeof(cached.page) + OVERHEAD
