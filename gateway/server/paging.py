"""Reads all pages of a list in order, some of them ahead."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine

from gateway.core.convert import RowPage
from gateway.core.filter import Page
from gateway.core.stream import MAX_OFFSET, is_last

Fetch = Callable[[Page], Coroutine[None, None, RowPage]]


async def read_pages(fetch: Fetch, first: Page, ahead: int) -> AsyncGenerator[RowPage, None]:
    """Yield pages in order until one is short, or the total is reached.

    While one page is being taken, the next ones are on their way: a single one as long as the total is not known, and
    up to `ahead` once it is. The total of the latest page counts, for a list may grow or shrink meanwhile. Closing the
    iterator cancels every fetch.

    Args:
        fetch: Fetches one page. An error ends the iteration, after the pages before it have been yielded.
        first: The first page; the offsets of the others are whole multiples of its limit behind its own.
        ahead: Pages to fetch ahead, 1 or more.
    """
    window: deque[asyncio.Task[RowPage]] = deque()
    offset, size = first
    total: int | None = None

    def fill() -> None:
        nonlocal offset
        room = 1 if total is None else ahead
        while len(window) < room and offset <= MAX_OFFSET and (total is None or offset < total):
            window.append(asyncio.create_task(fetch(Page(offset, size))))
            offset += size

    try:
        window.append(asyncio.create_task(fetch(first)))
        offset += size
        while window:
            rows = await window[0]
            del window[0]
            total = rows.position.total if rows.position else None
            if not is_last(rows):
                fill()
            yield rows
            if is_last(rows):
                return
    finally:
        for fetching in window:
            fetching.cancel()
        await asyncio.gather(*window, return_exceptions=True)
