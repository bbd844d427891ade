"""RepoService: what each method does, step by step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc

from gateway.core.errors import DEADLINE_EXCEEDED, GatewayError
from gateway.core.filter import RepoQuery, read_list_message, read_stream_request
from gateway.core.retry import MIN_TIME
from gateway.core.service import SERVICE_NAME
from gateway.listing.listing import Listing
from gateway.reliability.deadline import Deadline
from gateway.swr.v1 import repos_pb2
from gateway.telemetry.call import REQUEST_ID, current_call

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

# Trailer of a reply that was not fetched just now.
FROM_CACHE = "x-swr-gateway-cache"


class RepoServicer:
    """Serves RepoService.

    Args:
        listing: Where its pages come from.
        timeout: Upper bound in seconds for a call (for StreamRepos: for each page); a shorter caller deadline wins.
    """

    def __init__(self, listing: Listing, *, timeout: float) -> None:
        self._listing = listing
        self._timeout = timeout

    async def list_repos(self, query: RepoQuery, context: Context) -> bytes:
        """List one page."""
        call = current_call()
        page = await self._listing.page(query, call, self._deadline(context))
        call.rows = page.rows
        if cached := call.from_cache:
            shown = f"{cached.status}; age={cached.age}"
            context.set_trailing_metadata(((REQUEST_ID, call.request_id), (FROM_CACHE, shown)))
        return page.message

    async def stream_repos(
        self, request: repos_pb2.StreamReposRequest, context: Context
    ) -> AsyncGenerator[bytes, None]:
        """List all pages, no more of them than the caller reads."""
        query = read_stream_request(request)
        pages = self._listing.pages(query, current_call(), lambda: self._deadline(context))
        async with aclosing(pages) as messages:
            async for message in messages:
                yield message

    def method_handlers(self) -> grpc.GenericRpcHandler:
        """Return the service for a server to add. Replies are serialized already, so they pass as they are."""
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME,
            {
                "ListRepos": grpc.unary_unary_rpc_method_handler(
                    self.list_repos, request_deserializer=read_list_message
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
        if remaining < MIN_TIME:
            raise GatewayError(DEADLINE_EXCEEDED)
        return Deadline(now + remaining, by_caller=True)
