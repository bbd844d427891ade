"""RepoService: what each method does, step by step."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, TypeAlias, TypeVar

import grpc

from gateway.core.convert import PageConverter, RowPage, SerializedPage, Steps
from gateway.core.filter import Page, read_list_request, read_stream_request
from gateway.core.stream import StreamAssembler
from gateway.server.call import current_call
from gateway.server.fetching import PageFetcher
from gateway.server.paging import read_pages
from gateway.swr.v1 import repos_pb2
from gateway.upstream.client import Answer, Deadline

SERVICE_NAME = repos_pb2.DESCRIPTOR.services_by_name["RepoService"].full_name

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Result = TypeVar("Result")


class RepoServicer:
    """Serves RepoService.

    Args:
        fetcher: Fetches pages from the upstream.
        converter: Makes the reply of the upstream's answer.
        timeout: Seconds for one page whose caller set no deadline, and the most for one who did.
        prefetch: Pages that a stream fetches ahead.
    """

    def __init__(
        self,
        fetcher: PageFetcher,
        converter: PageConverter,
        *,
        timeout: float,
        prefetch: int,
    ) -> None:
        self._fetcher = fetcher
        self._converter = converter
        self._timeout = timeout
        self._prefetch = prefetch

    async def list_repos(self, request: repos_pb2.ListReposRequest, context: Context) -> SerializedPage:
        """List one page: one call is one upstream request."""
        query = read_list_request(request)
        answer = await self._fetcher.fetch(query, current_call(), self._deadline(context))
        return await _breathing(self._converter.convert(answer.body, answer.content_range, query.page))

    async def stream_repos(self, request: repos_pb2.StreamReposRequest, context: Context) -> None:
        """List all pages: each is one upstream request, some of them ahead, and no more than the caller reads."""
        query = read_stream_request(request)
        assert query.page is not None  # a stream always pages

        async def fetch(page: Page) -> Answer:
            return await self._fetcher.fetch(query._replace(page=page), current_call(), self._deadline(context))

        async def convert(page: Page, answer: Answer) -> RowPage:
            return await _breathing(self._converter.convert_rows(answer.body, answer.content_range, page))

        assembler = StreamAssembler()
        async with aclosing(read_pages(fetch, convert, query.page, self._prefetch)) as pages:
            async for rows in pages:
                for message in assembler.messages(rows):
                    await context.write(message)

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
        return Deadline(now + remaining, by_caller=True)


async def _breathing(steps: Steps[Result]) -> Result:
    """Run a conversion, letting other calls run between its steps."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return] # StopIteration has no type for it
        await asyncio.sleep(0)
