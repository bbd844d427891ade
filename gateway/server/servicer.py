"""RepoService: what each method does, step by step."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

import grpc

from gateway.core.convert import PageConverter, SerializedPage, Steps
from gateway.core.filter import Dialect, read_list_request, request_target
from gateway.credentials import Credential
from gateway.server.call import current_call
from gateway.swr.v1 import repos_pb2
from gateway.upstream.client import Deadline, UpstreamClient

SERVICE_NAME = repos_pb2.DESCRIPTOR.services_by_name["RepoService"].full_name

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class RepoServicer:
    """Serves RepoService.

    Args:
        upstream: Where the repositories are.
        credential: Signs each upstream request in.
        converter: Makes the reply of the upstream's answer.
        dialect: How the upstream wants its filter.
        timeout: Seconds of a call whose caller set no deadline, and the most for one who did.
    """

    def __init__(
        self,
        upstream: UpstreamClient,
        credential: Credential,
        converter: PageConverter,
        *,
        dialect: Dialect,
        timeout: float,
    ) -> None:
        self._upstream = upstream
        self._credential = credential
        self._converter = converter
        self._dialect = dialect
        self._timeout = timeout

    async def list_repos(self, request: repos_pb2.ListReposRequest, context: Context) -> SerializedPage:
        """List one page: one call is one upstream request."""
        query = read_list_request(request)
        target = request_target(query, self._dialect)
        deadline = self._deadline(context)
        call = current_call()
        answer = await self._upstream.get(
            target,
            request_id=call.request_id,
            credential=await self._credential.headers(target, call.metadata),
            deadline=deadline,
        )
        return await _breathing(self._converter.convert(answer.body, answer.content_range, query.page))

    def method_handlers(self) -> grpc.GenericRpcHandler:
        """Return the service for a server to add. Replies are serialized already, so they pass as they are."""
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME,
            {
                "ListRepos": grpc.unary_unary_rpc_method_handler(
                    self.list_repos, request_deserializer=repos_pb2.ListReposRequest.FromString
                )
            },
        )

    def _deadline(self, context: Context) -> Deadline:
        now = asyncio.get_running_loop().time()
        remaining: float | None = context.time_remaining()  # the stubs do not know that a caller may set none
        if remaining is None or remaining > self._timeout:
            return Deadline(now + self._timeout, by_caller=False)
        return Deadline(now + remaining, by_caller=True)


async def _breathing(steps: Steps) -> SerializedPage:
    """Run a conversion, letting other calls run between its steps."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        await asyncio.sleep(0)
