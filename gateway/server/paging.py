"""Reads all pages of a list in order, some of them ahead."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import TypeVar

from gateway.core.convert import RowPage
from gateway.core.filter import Page
from gateway.core.stream import StreamAssembler

Fetched = TypeVar("Fetched")


async def read_pages(
    begin: Callable[[Page, bool], asyncio.Task[Fetched] | None],
    convert: Callable[[Page, Fetched], Awaitable[RowPage]],
    assembler: StreamAssembler,
    ahead: int,
) -> AsyncGenerator[Iterator[bytes], None]:
    """Yield the messages of page after page, to the end of the list.

    While one page is being converted and taken, the next ones are on their way: a single one as long as the total is
    not known, or pages come short, and up to `ahead` else. Those whose offsets turn out to be wrong are cancelled.
    Closing the iterator cancels every fetch.

    Args:
        begin: Begins to fetch a page; told True where the page is not needed yet, it may return None, and is asked
            again later. An error ends the iteration, after the pages before it have been yielded.
        convert: Converts what was fetched. One page at a time: pages that came together, converted together, would all
            be late, and the requests behind them too.
        assembler: Makes messages of the pages, and knows which comes next.
        ahead: Pages to fetch ahead, 1 or more.
    """
    pager = assembler.pager
    window: deque[tuple[Page, asyncio.Task[Fetched]]] = deque()

    def fill(last: Page | None) -> None:
        """Fetch ahead, behind the page that was asked for last."""
        room = ahead if pager.steady else 1
        while len(window) < room:
            page = pager.behind(last) if last else pager.upcoming
            fetching = begin(page, True) if page else None
            if page is None or fetching is None:
                return
            window.append((page, fetching))
            last = page

    try:
        while needed := pager.upcoming:
            if not window:
                fetching = begin(needed, False)
                assert fetching is not None  # what is needed is always fetched
                window.append((needed, fetching))
            page, fetching = window[0]
            fetched = await fetching
            del window[0]
            if pager.steady:
                fill(window[-1][0] if window else page)
            messages = assembler.take(await convert(page, fetched))
            if window and window[0][0] != pager.upcoming:
                await _cancel(window)
            if pager.upcoming:
                fill(window[-1][0] if window else None)
            yield messages
    finally:
        await _cancel(window)


async def _cancel(window: deque[tuple[Page, asyncio.Task[Fetched]]]) -> None:
    fetches = [fetching for _, fetching in window]
    window.clear()
    for fetching in fetches:
        fetching.cancel()
    await asyncio.gather(*fetches, return_exceptions=True)
