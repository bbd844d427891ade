"""Reads all pages of a list in order, some of them ahead."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import TypeVar

from gateway.core.convert import RowPage
from gateway.core.filter import Page
from gateway.core.stream import MAX_OFFSET, is_last, known_total

Fetched = TypeVar("Fetched")


async def read_pages(
    fetch: Callable[[Page], Coroutine[None, None, Fetched]],
    convert: Callable[[Page, Fetched], Awaitable[RowPage]],
    first: Page,
    ahead: int,
) -> AsyncGenerator[RowPage, None]:
    """Yield pages in order until one is short, or the total is reached.

    While one page is being converted and taken, the next ones are on their way: a single one as long as the total is
    not known, and up to `ahead` once it is. The total of the latest page counts, for a list may grow or shrink
    meanwhile. Closing the iterator cancels every fetch.

    Args:
        fetch: Fetches one page. An error ends the iteration, after the pages before it have been yielded.
        convert: Converts what was fetched. One page at a time: pages that came together, converted together, would all
            be late, and the requests behind them too.
        first: The first page; the offsets of the others are whole multiples of its limit behind its own.
        ahead: Pages to fetch ahead, 1 or more.
    """
    window: deque[tuple[Page, asyncio.Task[Fetched]]] = deque()
    upcoming = first
    total: int | None = None

    def ask() -> None:
        nonlocal upcoming
        window.append((upcoming, asyncio.create_task(fetch(upcoming))))
        upcoming = upcoming._replace(offset=upcoming.offset + upcoming.limit)

    def fill() -> None:
        room = 1 if total is None else ahead
        while len(window) < room and upcoming.offset <= MAX_OFFSET and (total is None or upcoming.offset < total):
            ask()

    try:
        ask()
        while window:
            page, fetching = window[0]
            fetched = await fetching
            del window[0]
            if total is not None:
                fill()
            rows = await convert(page, fetched)
            total = known_total(rows)
            if not is_last(rows):
                fill()
            yield rows
            if is_last(rows):
                return
    finally:
        for _, fetching in window:
            fetching.cancel()
        await asyncio.gather(*(fetching for _, fetching in window), return_exceptions=True)
