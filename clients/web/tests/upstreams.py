"""Upstreams that keep pages back, or fail, from an offset on."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.simulator.app import make_app
from gateway.simulator.data import default_repositories
from gateway.simulator.query import read_query


class Dam:
    """An upstream of 256 repositories that answers nothing from an offset on, until it is opened or broken.

    Args:
        offset: The first that it keeps back.
    """

    def __init__(self, offset: int) -> None:
        self._settled = asyncio.Event()
        self._broken = False
        self.app = make_app(default_repositories())

        @web.middleware
        async def hold(request: web.Request, handler: Handler) -> web.StreamResponse:
            if read_query(request.query).offset >= offset:
                await self._settled.wait()
                if self._broken:
                    raise web.HTTPInternalServerError
            return await handler(request)

        self.app.middlewares.append(hold)

    def open(self) -> None:
        """Answer all from now on."""
        self._broken = False
        self._settled.set()

    def fail(self) -> None:
        """Answer what is kept back, and what comes, with an error."""
        self._broken = True
        self._settled.set()
