#!/usr/bin/env bash
# aiohttp 3.14 over asyncio: a pooled connection keeps the contextvars of the request that opened it, for as long as it lives.
#
# A request sets a ContextVar in its task and ends; its task is gone, and one would think that the value goes with it. But
# asyncio takes a copy of the current context for the callback that reads a socket and for every timer, and aiohttp opens
# the connection, and starts the timer that looks at idle ones, in the task of the request that is first. That timer is
# started anew by itself, with the same context. While the connection waits in the pool for other requests, what the first
# one kept in contextvars (its headers, its user, its trace) stays in memory. Where both happen in an empty context nothing
# is kept.
#
# Seen with aiohttp 3.14.5 on CPython 3.11 and Linux: alive behind the request and behind a second one, gone once the
# session is closed; the same with only the connection opened in an empty context; with both, gone behind the request.
# Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check aiohttp==3.14.5
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import contextvars
import gc
import weakref

import aiohttp
from aiohttp import web

user: contextvars.ContextVar["User"] = contextvars.ContextVar("user")


class User:
    """What one request knows."""


class OpensInAnEmptyContext(aiohttp.TCPConnector):
    async def _create_connection(self, *arguments, **more):
        connecting = super()._create_connection(*arguments, **more)
        return await asyncio.create_task(connecting, context=contextvars.Context())


class KeepsInAnEmptyContext(OpensInAnEmptyContext):
    def _release(self, *arguments, **more):
        return contextvars.Context().run(super()._release, *arguments, **more)


async def request(session: aiohttp.ClientSession, url: str) -> weakref.ref:
    """Make a request in a task of its own; return a reference to what that task kept in its context."""

    async def get() -> weakref.ref:
        mine = User()
        user.set(mine)
        async with session.get(url) as response:
            await response.read()
        return weakref.ref(mine)

    return await asyncio.create_task(get())


async def alive(what: weakref.ref) -> bool:
    await asyncio.sleep(0.1)
    gc.collect()
    return what() is not None


async def look(url: str, connector: aiohttp.TCPConnector) -> list[bool]:
    """Return whether the first request's value is there behind it, behind a second one, and behind the session."""
    session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
    first = await request(session, url)
    seen = [await alive(first)]
    await request(session, url)
    seen.append(await alive(first))
    await session.close()
    return [*seen, await alive(first)]


async def main() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    shared = await look(url, aiohttp.TCPConnector())
    opened = await look(url, OpensInAnEmptyContext())
    kept = await look(url, KeepsInAnEmptyContext())
    await runner.cleanup()
    print("alive behind the request, behind a second one, behind the session:", shared)
    print("the same, with connections opened in an empty context:", opened)
    print("the same, with connections also put back into the pool in one:", kept)
    assert shared == [True, True, False], shared
    assert opened == [True, True, False], opened
    assert kept == [False, False, False], kept


asyncio.run(main())
PYTHON
