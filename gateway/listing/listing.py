"""The list, page by page: what RepoService serves, without gRPC.

A single page is remembered, coalesced with identical calls, or fetched, in this order. What is remembered and what is
coalesced belongs to the credential that it was fetched with: its identity is a part of the key. The pages of a stream
are neither, for nobody else asks for the same ones at the same time; they are fetched ahead instead.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from functools import partial
from hashlib import blake2b
from typing import Any

from google.rpc import code_pb2

from gateway.core.errors import CREDENTIAL_UNAVAILABLE, GatewayError
from gateway.core.filter import Dialect, Page, RepoQuery, request_target
from gateway.core.pages import SerializedPage
from gateway.core.stream import StreamAssembler
from gateway.credentials.base import Credential
from gateway.listing.conversions import Conversions
from gateway.listing.fetching import PageFetcher
from gateway.listing.prefetching import PageReader
from gateway.listing.streaming import StreamedPages
from gateway.metrics import Metrics
from gateway.reliability.byte_budget import ByteBudget
from gateway.reliability.cache import CacheHit, PageCache
from gateway.reliability.coalescing import Coalescer
from gateway.reliability.deadline import Deadline
from gateway.reliability.progress import Progress, within
from gateway.telemetry.call import Call

CACHE_CONTROL = "cache-control"
NO_CACHE = "no-cache"


class Listing:
    """Lists repositories.

    Args:
        fetcher: Fetches pages.
        conversions: Makes replies of them.
        credential: With which the fetcher authenticates.
        dialect: How the upstream wants its filter.
        cache: Pages that are remembered; None where none are.
        coalescer: Pages under way; None where calls are not coalesced.
        prefetch: Pages that a stream fetches ahead.
        prefetch_budget: Memory for the pages ahead of all streams.
        metrics: Where hits of the cache are counted.
    """

    def __init__(
        self,
        fetcher: PageFetcher,
        conversions: Conversions,
        credential: Credential,
        *,
        dialect: Dialect,
        cache: PageCache | None,
        coalescer: Coalescer[SerializedPage] | None,
        prefetch: int,
        prefetch_budget: ByteBudget,
        metrics: Metrics,
    ) -> None:
        self._fetcher = fetcher
        self._conversions = conversions
        self._credential = credential
        self._dialect = dialect
        self._cache = cache
        self._coalescer = coalescer
        self._prefetch = prefetch
        self._prefetch_budget = prefetch_budget
        self._metrics = metrics

    async def page(self, query: RepoQuery, call: Call, deadline: Deadline) -> SerializedPage:
        """Return the page of a query.

        A caller that sends `cache-control: no-cache` gets one that was fetched for this very call.

        Raises:
            GatewayError: There is none.
        """
        target = request_target(query, self._dialect)
        # A hash: callers choose how long targets are, and all of them are remembered.
        key = blake2b(target.encode(), digest_size=16, salt=call.identity(self._credential)).digest()
        load = partial(self._load, target, key, query.page, call)
        if NO_CACHE in call.metadata.get(CACHE_CONTROL, "").lower():
            return await _alone(load, call, deadline)
        if self._cache is not None and (fresh := self._cache.fresh(key)):
            return self._from_cache(fresh, call)
        try:
            if self._coalescer is None:
                return await _alone(load, call, deadline)
            return await self._coalescer.run(key, load, deadline, call.timings)
        except GatewayError as error:
            if self._cache is None or not _is_of_the_upstream(error):
                raise
            stale = self._cache.stale(key)
            if stale is None:
                raise
            return self._from_cache(stale, call)

    async def pages(
        self, query: RepoQuery, call: Call, deadline: Callable[[], Deadline]
    ) -> AsyncGenerator[bytes, None]:
        """Yield all pages as the messages of a stream: each is one upstream request.

        Args:
            query: Which repositories; its page is the first.
            call: On whose behalf; told how many rows were sent.
            deadline: Returns until when the next page is waited for.

        Raises:
            GatewayError: A page cannot be had; those before it have been yielded.
        """
        assert query.page is not None  # a stream always pages
        pages = StreamedPages(
            query, call, deadline, self._fetcher, self._conversions, dialect=self._dialect, budget=self._prefetch_budget
        )
        assembler = StreamAssembler(query.page)
        async with aclosing(PageReader(pages.begin, pages.convert, assembler, self._prefetch).messages()) as messages:
            async for message in messages:
                call.rows = assembler.sent
                yield message

    def _from_cache(self, hit: CacheHit, call: Call) -> SerializedPage:
        self._metrics.cached_pages.labels(hit.info.status.value).inc()
        call.from_cache = hit.info
        return hit.page

    async def _load(self, target: str, key: bytes, page: Page | None, call: Call, progress: Progress) -> SerializedPage:
        asked_at = self._cache.now() if self._cache is not None else 0.0
        answer = await self._fetcher.fetch(target, call, progress)
        reply = await self._conversions.to_reply(answer, page, progress.timings)
        if self._cache is not None:
            self._cache.store(key, reply, asked_at)
        return reply


async def _alone(
    load: Callable[[Progress], Coroutine[Any, Any, SerializedPage]], call: Call, deadline: Deadline
) -> SerializedPage:
    progress = Progress(lambda: deadline, timings=call.timings)
    return await within(deadline, progress, load(progress))


def _is_of_the_upstream(error: GatewayError) -> bool:
    """Tell whether the upstream is unavailable: without a credential, nobody may say what a caller may see."""
    return error.cause.code == code_pb2.UNAVAILABLE and error.cause is not CREDENTIAL_UNAVAILABLE
