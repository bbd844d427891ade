"""One page from the upstream: the target, the sign-in, the request, and a second one where the first came too late."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from gateway.core.errors import CREDENTIAL_UNAVAILABLE, DEADLINE_EXCEEDED, GatewayError
from gateway.core.filter import Dialect, RepoQuery, request_target
from gateway.core.tokens import says_expired
from gateway.credentials.base import Credential, SignIn
from gateway.server.call import Call
from gateway.upstream.client import Answer, Deadline, UpstreamClient

Result = TypeVar("Result")


class PageFetcher:
    """Fetches pages.

    Args:
        upstream: Where they are.
        credential: Signs each request in.
        dialect: How the upstream wants its filter.
    """

    def __init__(self, upstream: UpstreamClient, credential: Credential, dialect: Dialect) -> None:
        self._upstream = upstream
        self._credential = credential
        self._dialect = dialect

    async def fetch(self, query: RepoQuery, call: Call, deadline: Deadline) -> Answer:
        """Fetch one page.

        A token that the upstream calls expired is renewed once and the request repeated once: what the second one is
        answered is the answer, for a cloud locks out who goes on trying.

        Raises:
            GatewayError: There is no page, for any reason.
        """
        target = request_target(query, self._dialect)
        sign_in = await _by(deadline, self._credential.sign_in(target, call.metadata))
        try:
            return await self._get(target, call, sign_in, deadline)
        except GatewayError as error:
            if not says_expired(error):
                raise
            renewed = await _by(deadline, self._credential.renew(sign_in))
            if renewed is None:
                raise
        return await self._get(target, call, renewed, deadline)

    async def _get(self, target: str, call: Call, sign_in: SignIn, deadline: Deadline) -> Answer:
        return await self._upstream.get(
            target, request_id=call.request_id, headers=sign_in.headers, secrets=sign_in.secrets, deadline=deadline
        )


async def _by(deadline: Deadline, credential: Awaitable[Result]) -> Result:
    """Wait for a credential, which may have to be fetched, no longer than the call has time."""
    try:
        async with asyncio.timeout_at(deadline.at):
            return await credential
    except TimeoutError as error:
        raise GatewayError(DEADLINE_EXCEEDED if deadline.by_caller else CREDENTIAL_UNAVAILABLE) from error
