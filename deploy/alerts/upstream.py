"""An upstream, and IAM, that do what they are told."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from aiohttp import web

from gateway.core.iam_messages import SUBJECT_TOKEN_HEADER, TOKENS_PATH
from gateway.simulator.app import running

TOTAL = 300
_ROW = '{"name":"nginx","namespace":"library","size":7,"num_images":1}'


@dataclass
class Upstream:
    """What answers.

    Attributes:
        url: Where.
        status: Of each answer; 0 is none, and the connection is reset.
        latency: Seconds before each answer.
        iam_status: Of each answer of IAM.
        token_life: Of the tokens that it issues, in seconds.
    """

    url: str = ""
    status: int = 200
    latency: float = 0.0
    iam_status: int = 201
    token_life: float = 3600.0
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer with a page of one row, or as told."""
        status = self.status
        await asyncio.sleep(self.latency)
        if not status and request.transport is not None:
            request.transport.abort()
        if status != 200:
            return web.json_response({"errors": [{"errorCode": "SVC.1", "errorMessage": "told to"}]}, status=status)
        # Each row is another: none is remembered.
        row = _ROW.replace('"nginx"', f'"nginx-{next(self._numbers)}"')
        return web.Response(text=f"[{row}]", content_type="application/json", headers={"Content-Range": f"0-1/{TOTAL}"})

    async def issue(self, request: web.Request) -> web.Response:
        """Issue a token."""
        now = datetime.now(UTC)
        token = {"issued_at": _text(now), "expires_at": _text(now + timedelta(seconds=self.token_life))}
        headers = {SUBJECT_TOKEN_HEADER: f"token-{next(self._numbers)}"}
        return web.json_response({"token": token}, status=self.iam_status, headers=headers)


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


@asynccontextmanager
async def playing() -> AsyncIterator[Upstream]:
    """Run an upstream for the time of a `with` block."""
    upstream = Upstream()
    app = web.Application()
    app.router.add_post(TOKENS_PATH, upstream.issue)
    app.router.add_get("/{path:.*}", upstream.answer)
    async with running(app) as upstream.url:
        yield upstream
