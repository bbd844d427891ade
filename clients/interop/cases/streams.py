"""Calls that end before their end: cancelled, out of time, broken and resumed."""

from __future__ import annotations

import asyncio

from clients.interop.case import OK, case
from clients.interop.checks import comes, expect, same
from clients.interop.interop_pb2 import Call
from clients.interop.rows import listing, names
from clients.interop.stage import Stage, code_of, must_end, repos_of
from clients.interop.world import relay
from gateway.swr.v1.repos_pb2 import StreamReposRequest
from scripted_upstream import Act, Request, Script

# Rows of the list that is broken off, and the page that does not come before it was.
LIST, PAGE_SIZE, HELD = 3000, 100, 1000


@case("A call that is cancelled is CANCELLED, and the gateway hangs up on the upstream")
async def cancel_after_begin(stage: Stage) -> str:
    await _connect_to_silence(stage)
    must_end(await stage.list_repos(cancel_after_ms=2000), "CANCELLED")
    await _idle(stage)
    return OK


@case("A stream that is cancelled behind its first message is CANCELLED, and so are the requests for the next pages")
async def cancel_after_first_response(stage: Stage) -> str:
    def script(request: Request) -> Script:
        return (listing(LIST),) if request.clause("offset") == "0" else (Act.STALL,)

    stage.upstream.choose = script
    await stage.connect()
    result = await stage.stream_repos(StreamReposRequest(page_size=PAGE_SIZE), cancel_after_messages=1)
    must_end(result, "CANCELLED")
    same(len(result.messages), 1, "the number of messages")
    await comes(stage.upstream.all_hung_up(len(stage.upstream.requests) - 1), "the end of all requests upstream")
    return OK


@case("A call whose deadline passes: its status, and the gateway hangs up on the upstream", "DEADLINE_EXCEEDED")
async def timeout_on_sleeping_server(stage: Stage) -> str:
    await _connect_to_silence(stage)
    result = await stage.list_repos(timeout_ms=2000)
    await _idle(stage)
    return code_of(result)


async def _connect_to_silence(stage: Stage) -> None:
    """Connect, make a first call, which can take a client long, and have the upstream answer no other."""
    await stage.connect()
    must_end(await stage.list_repos(), "OK")
    stage.world.reset()
    stage.upstream.play((Act.STALL,))


async def _idle(stage: Stage) -> None:
    expect(stage.upstream.requests, "the call has not come as far as the upstream")
    await comes(stage.upstream.all_hung_up(len(stage.upstream.requests)), "the end of the request upstream")


@case("A gateway is killed under a stream: the example's own function goes on, and has all of the list once")
async def resume(stage: Stage) -> str:
    broken, arrived = asyncio.Event(), asyncio.Event()

    def script(request: Request) -> Script:
        if int(request.clause("offset")) < HELD or broken.is_set():
            return (listing(LIST),)
        arrived.set()
        return (broken, Act.CLOSE)

    stage.upstream.choose = script
    first, second = await stage.serve(), await stage.serve()
    way = await stage.stack.enter_async_context(relay(first.address))
    await stage.connect(way.address)
    listed = asyncio.create_task(stage.call(Call(list_all=StreamReposRequest(page_size=PAGE_SIZE), timeout_ms=60_000)))
    await comes(arrived.wait(), "the page in the midst")
    broken.set()
    first.process.kill()
    way.cut(second.address)
    result = await listed
    must_end(result, "OK")
    same([repo.name for repo in repos_of(result)], names(LIST), "the list")
    return OK
