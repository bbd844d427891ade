"""The embedded upstream as an aiohttp application, and a server for it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import msgspec
from aiohttp import web

from gateway.core.iam_messages import TOKENS_PATH
from gateway.simulator.access import Access, Authenticator
from gateway.simulator.data import Repository
from gateway.simulator.error_answers import REQUEST_ID, Rejection, Shape, error_response, rejection_response
from gateway.simulator.oddities import spell_oddly
from gateway.simulator.query import BadQueryError, Filter, Query, read_query

# Tokens have up to 20,000 characters.
MAX_HEADER_BYTES = 64 * 1024

_encode = msgspec.json.Encoder().encode


class Malformed(StrEnum):
    """What is wrong with the body of an answer whose status is 200."""

    HTML = "html"
    EMPTY = "empty"
    OBJECT = "object"
    TRUNCATED = "truncated"
    WRONG_TYPE = "wrong-type"


@dataclass(frozen=True, slots=True)
class Faults:
    """What the embedded upstream does wrong, on demand.

    Attributes:
        latency: Seconds before each answer.
        error_status: HTTP status of every answer; 0 is none.
        error_shape: Shape of the body of ordered errors and of 400; the API gateway, which answers 401 and 404, has
            its own.
        malformed: What is wrong with every page.
        content_range: Whether Content-Range is sent.
        page_cap: Most records of a page, whatever its limit; 0 is no cap.
        hide_every: Each so manieth record is counted and not shown, as where a caller may not see it; 0 is none.
        multiples_only: Whether offsets that are no multiples of the limit are refused.
        rejection: How a token that is not let in is refused; None for the API gateway's words for the reason.
        odd_values: Whether values are spelled oddly, by turns: `1.0`, in a string, with half of a surrogate pair.
    """

    latency: float = 0.0
    error_status: int = 0
    error_shape: Shape = Shape.LIST
    malformed: Malformed | None = None
    content_range: bool = True
    page_cap: int = 0
    hide_every: int = 0
    multiples_only: bool = False
    rejection: Rejection | None = None
    odd_values: bool = False


def make_app(
    repositories: Sequence[Repository], faults: Faults | None = None, authenticator: Authenticator | None = None
) -> web.Application:
    """Build the application.

    Args:
        repositories: What there is to list, in this order.
        faults: What it does wrong.
        authenticator: Whom it lets in; everyone without one.
    """
    simulator = _Simulator(repositories, faults or Faults(), authenticator or Authenticator(Access()))
    app = web.Application(middlewares=[_request_ids(), simulator.interfere])
    app.router.add_get("/v2/manage/repos", simulator.list_repositories)
    app.router.add_get("/v2/manage/shared-repositories", simulator.list_repositories)
    app.router.add_post(TOKENS_PATH, simulator.issue_token)
    return app


@asynccontextmanager
async def running(app: web.Application, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve an application for the time of a `with` block.

    Yields:
        Its URL, with the port that was chosen for 0.
    """
    runner = web.AppRunner(
        app,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        access_log=None,
        shutdown_timeout=0.1,  # 0 would wait for every answer that is due
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound_port = runner.addresses[0][1]
        yield f"http://{f'[{host}]' if ':' in host else host}:{bound_port}"
    finally:
        await runner.cleanup()


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _request_ids() -> Any:
    numbers = itertools.count(1)

    @web.middleware
    async def name_request(request: web.Request, handler: Handler) -> web.StreamResponse:
        request_id = f"sim-{next(numbers):08d}"
        request[REQUEST_ID] = request_id
        try:
            response = await handler(request)
        except web.HTTPNotFound:
            text = "The API does not exist or has not been published in the environment"
            response = error_response(404, "APIGW.0101", text, Shape.APIGW, request)
        except web.HTTPException as error:
            error.headers["X-Request-Id"] = request_id
            raise
        response.headers["X-Request-Id"] = request_id
        return response

    return name_request


class _Simulator:
    def __init__(self, repositories: Sequence[Repository], faults: Faults, authenticator: Authenticator) -> None:
        self._repositories = repositories
        self._faults = faults
        self._authenticator = authenticator
        # Who pages through thousands of repositories asks for the same ones again and again.
        self._matches = lru_cache(maxsize=64)(self._find_matches)

    @web.middleware
    async def interfere(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Do wrong what was ordered, before the request is looked at."""
        faults = self._faults
        if faults.latency:
            await asyncio.sleep(faults.latency)
        if faults.error_status:
            code = f"SVCSTG.SWR.{faults.error_status}0001"
            return error_response(faults.error_status, code, "simulated error", faults.error_shape, request)
        return await handler(request)

    async def issue_token(self, request: web.Request) -> web.Response:
        """Answer as the identity service, IAM."""
        return self._authenticator.issue(await request.read())

    def _find_matches(self, wanted: Filter) -> list[dict[str, Any]]:
        return [repository.record for repository in self._repositories if wanted.matches(repository)]

    def _page(self, matches: list[dict[str, Any]], query: Query) -> list[dict[str, Any]]:
        limit = min(query.limit, self._faults.page_cap or query.limit)
        page = matches[query.offset : query.offset + limit]
        if hidden := self._faults.hide_every:
            page = [record for number, record in enumerate(page, query.offset + 1) if number % hidden]
        return page

    async def list_repositories(self, request: web.Request) -> web.Response:
        """Answer a list request."""
        if refusal := self._authenticator.refusal(request):
            return self._refuse(refusal, request)
        try:
            query = read_query(request.query, multiples_only=self._faults.multiples_only)
        except BadQueryError as error:
            return error_response(400, error.code, error.message, self._faults.error_shape, request)
        matches = self._matches(query.filter)
        page = self._page(matches, query)
        headers = {}
        if query.paged and self._faults.content_range:
            headers["Content-Range"] = f"{query.offset}-{len(page)}/{len(matches)}"
        if self._faults.odd_values:
            page = [spell_oddly(record, index) for index, record in enumerate(page, query.offset)]
        body = _spoil(_encode([_with_total(record, len(matches)) for record in page]), self._faults.malformed)
        return web.Response(body=body, content_type="application/json", headers=headers)

    def _refuse(self, refusal: str, request: web.Request) -> web.Response:
        rejection = self._faults.rejection
        if rejection is None or "Authorization" in request.headers:
            text = f"Incorrect IAM authentication information: {refusal}"
            return error_response(401, "APIGW.0301", text, Shape.APIGW, request)
        return rejection_response(rejection, request)


def _with_total(record: dict[str, Any], total: int) -> dict[str, Any]:
    """Add the number of matches to records, as newer regions do and older ones do not."""
    return {**record, "total_range": total} if "total_range" in record else record


def _spoil(body: bytes, malformed: Malformed | None) -> bytes:
    match malformed:
        case None:
            return body
        case Malformed.HTML:
            return b"<html><body>Sign in to the guest network</body></html>"
        case Malformed.EMPTY:
            return b""
        case Malformed.OBJECT:
            return b'{"repos":' + body + b"}"
        case Malformed.TRUNCATED:
            return body[: len(body) // 2]
        case Malformed.WRONG_TYPE:
            return b'[{"name":"nginx","size":"large"}]'
