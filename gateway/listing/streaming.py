"""The pages of one stream: each fetched when it is needed or ahead of that, and converted row by row."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from gateway.core.filter import Dialect, Page, RepoQuery, request_target
from gateway.core.pages import RowPage
from gateway.listing.conversions import Conversions
from gateway.listing.fetching import PageFetcher
from gateway.listing.prefetching import Fetch
from gateway.reliability.byte_budget import ByteBudget, Share
from gateway.reliability.deadline import Deadline
from gateway.reliability.limiter import Permit
from gateway.reliability.progress import Progress, within
from gateway.reliability.timings import Timings
from gateway.telemetry.call import Call
from gateway.upstream.client import Answer


class Fetched(NamedTuple):
    """A page as it was answered, and what it took."""

    answer: Answer
    timings: Timings


class StreamedPages:
    """Fetches and converts the pages of one stream, for a PageReader.

    Args:
        query: Which repositories.
        call: On whose behalf.
        deadline: Returns until when the next page is waited for.
        fetcher: Fetches each page.
        conversions: Converts it.
        dialect: How the upstream wants its filter.
        budget: Memory for pages ahead.
    """

    def __init__(
        self,
        query: RepoQuery,
        call: Call,
        deadline: Callable[[], Deadline],
        fetcher: PageFetcher,
        conversions: Conversions,
        *,
        dialect: Dialect,
        budget: ByteBudget,
    ) -> None:
        self._query = query
        self._call = call
        self._deadline = deadline
        self._fetcher = fetcher
        self._conversions = conversions
        self._dialect = dialect
        self._budget = budget
        self._under_way: set[Progress] = set()
        self._latest_size = 0  # of a body, which is what the next one will have

    def begin(self, page: Page, is_ahead: bool) -> Fetch[Fetched] | None:
        """Fetch a page; one that is not needed yet takes memory and a permit that are free, and queues for none.

        None is fetched ahead while another is asked for again: the permit that was given back meanwhile is still
        wanted, and a stream must not refuse itself.
        """
        if not is_ahead:
            return Fetch(page, asyncio.create_task(self._fetch(page, None, None)), None)
        if any(progress.failure is not None for progress in self._under_way):
            return None
        share = self._budget.take(self._latest_size)
        if share is None:
            return None
        permit = self._fetcher.try_acquire(self._call)
        if permit is None:
            share.give_back()
            return None
        fetching = asyncio.create_task(self._fetch(page, permit, share))
        fetching.add_done_callback(lambda _: permit.release())  # a task that never ran has not done so
        return Fetch(page, fetching, share)

    async def convert(self, page: Page, fetched: Fetched) -> RowPage:
        """Convert a page that was fetched."""
        rows = await self._conversions.to_rows(fetched.answer, page, fetched.timings)
        self._call.timings.converting.add(fetched.timings.converting.seconds)
        return rows

    async def _fetch(self, page: Page, permit: Permit | None, share: Share | None) -> Fetched:
        deadline = self._deadline()
        progress = Progress(lambda: deadline)
        self._under_way.add(progress)
        target = request_target(self._query._replace(page=page), self._dialect)
        try:
            answer = await within(deadline, progress, self._fetcher.fetch(target, self._call, progress, permit))
        finally:
            self._under_way.remove(progress)
            self._call.timings.add(progress.timings)
        self._latest_size = len(answer.body)
        if share is not None:
            share.resize(self._latest_size)
        return Fetched(answer, progress.timings)
