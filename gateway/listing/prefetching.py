"""Reads all pages of a list in order, some of them ahead."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.core.filter import Page
from gateway.core.pages import RowPage
from gateway.core.stream import StreamAssembler
from gateway.reliability.byte_budget import Share

Fetched = TypeVar("Fetched")


@dataclass(frozen=True, slots=True)
class Fetch(Generic[Fetched]):
    """A page on its way, or one that has come and is not converted yet.

    Attributes:
        page: Which one.
        task: What fetches it.
        share: Of the memory for pages ahead, given back once the page is taken or not wanted any more; None where it
            is no page ahead.
    """

    page: Page
    task: asyncio.Task[Fetched]
    share: Share | None

    async def take(self) -> Fetched:
        """Wait for the page, which is ahead no longer."""
        fetched = await self.task
        self._let_go()
        return fetched

    def cancel(self) -> None:
        """Do without the page."""
        self.task.cancel()
        self._let_go()

    def _let_go(self) -> None:
        if self.share is not None:
            self.share.give_back()


class PageReader(Generic[Fetched]):
    """Reads one list, page after page, to its end.

    While one page is being converted and taken, the next ones are on their way: none before the reader has taken a
    first message, a single one as long as the total is not known, or pages come short, and up to `ahead` else. Those
    whose offsets turn out to be wrong are cancelled.

    While a message waits for its reader nothing is kept but what is still to be sent: of the page in hand the rows
    behind that message, and pages ahead as far as the memory for them reaches.

    Args:
        begin: Begins to fetch a page; told True where the page is not needed yet, it may return None, and is asked
            again later. An error ends the iteration, after the pages before it have been yielded.
        convert: Converts what was fetched. One page at a time: pages that came together, converted together, would all
            be late, and the requests behind them too.
        assembler: Makes messages of the pages, and knows which comes next.
        ahead: Pages to fetch ahead, 1 or more.
    """

    def __init__(
        self,
        begin: Callable[[Page, bool], Fetch[Fetched] | None],
        convert: Callable[[Page, Fetched], Awaitable[RowPage]],
        assembler: StreamAssembler,
        ahead: int,
    ) -> None:
        self._begin = begin
        self._convert = convert
        self._assembler = assembler
        self._pager = assembler.pager
        self._ahead = ahead
        self._window: deque[Fetch[Fetched]] = deque()
        self._is_read = False

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """Yield the messages. Closing the iterator cancels every fetch."""
        try:
            while needed := self._pager.upcoming:
                for message in await self._next_page(needed):
                    yield message
                    if not self._is_read:
                        self._is_read = True
                        self._fill(None)
        finally:
            await self._cancel_window()

    async def _next_page(self, needed: Page) -> Iterator[bytes]:
        """Return the messages of the page that is needed, and let go of all else that it was made of."""
        window = self._window
        if not window:
            fetch = self._begin(needed, False)
            assert fetch is not None  # what is needed is always fetched
            window.append(fetch)
        page = window[0].page
        fetched = await window[0].take()
        del window[0]
        if self._pager.steady:
            self._fill(page)
        messages = self._assembler.take(await self._convert(page, fetched))
        if window and window[0].page != self._pager.upcoming:
            await self._cancel_window()
        if self._pager.upcoming:
            self._fill(None)
        return messages

    def _fill(self, last: Page | None) -> None:
        """Fetch ahead, behind the page that was asked for last: of the window, else the one given."""
        room = 0 if not self._is_read else self._ahead if self._pager.steady else 1
        while len(self._window) < room:
            before = self._window[-1].page if self._window else last
            page = self._pager.behind(before) if before else self._pager.upcoming
            fetch = self._begin(page, True) if page else None
            if fetch is None:
                return
            self._window.append(fetch)

    async def _cancel_window(self) -> None:
        fetches = list(self._window)
        self._window.clear()
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*(fetch.task for fetch in fetches), return_exceptions=True)
