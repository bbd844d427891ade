"""RepoService: what each method does, step by step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, NamedTuple, TypeAlias

import grpc

from gateway.core.convert import RowPage
from gateway.core.errors import DEADLINE_EXCEEDED, GatewayError
from gateway.core.filter import Dialect, Page, read_list_request, read_stream_request, request_target
from gateway.core.retry import LEAST_TIME
from gateway.core.service import SERVICE_NAME
from gateway.core.stream import StreamAssembler
from gateway.listing.conversions import Conversions
from gateway.listing.fetching import PageFetcher
from gateway.listing.pages import ListedPages
from gateway.listing.prefetching import Fetch, PageReader
from gateway.reliability.byte_budget import ByteBudget, Share
from gateway.reliability.progress import Deadline, Progress, within
from gateway.reliability.turns import Turn
from gateway.swr.v1 import repos_pb2
from gateway.telemetry.call import REQUEST_ID, current_call
from gateway.upstream.client import Answer

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

# Trailer of a reply that was not fetched just now.
FROM_CACHE = "x-swr-gateway-cache"


class Fetched(NamedTuple):
    """A page of a stream as it was answered, and what it took."""

    answer: Answer
    progress: Progress


class RepoServicer:
    """Serves RepoService.

    Args:
        pages: Where ListRepos gets its replies.
        fetcher: Fetches the pages of StreamRepos.
        conversions: Converts them.
        dialect: How the upstream wants its filter.
        timeout: Seconds for one page whose caller set no deadline, and the most for one who did.
        prefetch: Pages that a stream fetches ahead.
        budget: Memory for the pages ahead of all streams.
    """

    def __init__(
        self,
        pages: ListedPages,
        fetcher: PageFetcher,
        conversions: Conversions,
        *,
        dialect: Dialect,
        timeout: float,
        prefetch: int,
        budget: ByteBudget,
    ) -> None:
        self._pages = pages
        self._fetcher = fetcher
        self._conversions = conversions
        self._dialect = dialect
        self._timeout = timeout
        self._prefetch = prefetch
        self._budget = budget

    async def list_repos(self, request: repos_pb2.ListReposRequest, context: Context) -> bytes:
        """List one page."""
        query = read_list_request(request)
        call = current_call()
        listed = await self._pages.get(query, call, self._deadline(context))
        call.rows = listed.page.rows
        if listed.from_cache:
            call.from_cache = listed.from_cache.partition(";")[0]
            context.set_trailing_metadata(((REQUEST_ID, call.request_id), (FROM_CACHE, listed.from_cache)))
        return listed.page.message

    async def stream_repos(
        self, request: repos_pb2.StreamReposRequest, context: Context
    ) -> AsyncGenerator[bytes, None]:
        """List all pages: each is one upstream request, some of them ahead, and no more than the caller reads."""
        query = read_stream_request(request)
        call = current_call()
        assert query.page is not None  # a stream always pages

        size = 0  # of the latest body, which is what the next one will be

        async def fetch(page: Page, turn: Turn | None, share: Share | None) -> Fetched:
            nonlocal size
            deadline = self._deadline(context)
            progress = Progress(deadline)
            target = request_target(query._replace(page=page), self._dialect)
            try:
                answer = await within(deadline, progress, self._fetcher.fetch(target, call, progress, turn))
            finally:
                call.spent.add(progress)
            size = len(answer.body)
            if share is not None:
                share.resize(size)
            return Fetched(answer, progress)

        def begin(page: Page, is_ahead: bool) -> Fetch[Fetched] | None:
            """Fetch a page; one that is not needed yet takes memory and a turn that are free, and queues for none."""
            if not is_ahead:
                return Fetch(page, asyncio.create_task(fetch(page, None, None)), None)
            share = self._budget.take(size)
            if share is None:
                return None
            turn = self._fetcher.take_spare_turn(call)
            if turn is None:
                share.give_back()
                return None
            fetching = asyncio.create_task(fetch(page, turn, share))
            fetching.add_done_callback(lambda _: turn.give_back())  # a task that never ran has not done so
            return Fetch(page, fetching, share)

        async def convert(page: Page, fetched: Fetched) -> RowPage:
            rows = await self._conversions.to_rows(fetched.answer, page, fetched.progress)
            call.spent.converting += fetched.progress.converting
            return rows

        assembler = StreamAssembler(query.page)
        async with aclosing(PageReader(begin, convert, assembler, self._prefetch).messages()) as messages:
            async for message in messages:
                call.rows = assembler.sent
                yield message

    def method_handlers(self) -> grpc.GenericRpcHandler:
        """Return the service for a server to add. Replies are serialized already, so they pass as they are."""
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME,
            {
                "ListRepos": grpc.unary_unary_rpc_method_handler(
                    self.list_repos, request_deserializer=repos_pb2.ListReposRequest.FromString
                ),
                "StreamRepos": grpc.unary_stream_rpc_method_handler(
                    self.stream_repos,
                    request_deserializer=repos_pb2.StreamReposRequest.FromString,
                ),
            },
        )

    def _deadline(self, context: Context) -> Deadline:
        now = asyncio.get_running_loop().time()
        remaining: float | None = context.time_remaining()  # the stubs do not know that a caller may set none
        if remaining is None or remaining > self._timeout:
            return Deadline(now + self._timeout, by_caller=False)
        if remaining < LEAST_TIME:
            raise GatewayError(DEADLINE_EXCEEDED)
        return Deadline(now + remaining, by_caller=True)
