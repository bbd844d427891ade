"""What a reply says is what the client holds: numbers, times, many rows, large ones."""

from __future__ import annotations

import json

from clients.interop.case import OK, case
from clients.interop.checks import expect, same
from clients.interop.rows import EXACT, listing, names
from clients.interop.stage import Stage, code_of, must_end, repos_of
from clients.interop.world import TOTAL
from gateway.simulator.data import default_repositories
from gateway.swr.v1.repos_pb2 import ListReposRequest, StreamReposRequest
from scripted_upstream import page

# A page of 6 MB: 1000 rows.
PAGE = ListReposRequest(offset=0, limit=1000)
WORDS = "x" * 6000
ROOM = 16 * 1024 * 1024

# Longer than a message of such a stream takes to come.
PAUSE_MS = 200


@case("int64 and nanoseconds are exact: 9007199254740993, 2^63-1, 1 ns before 1970")
async def exact_numbers(stage: Stage) -> str:
    stage.upstream.play(page(json.dumps([EXACT])))
    await stage.connect()
    result = await stage.list_repos()
    must_end(result, "OK")
    (repo,) = repos_of(result)
    same((repo.size, repo.num_download), (EXACT["size"], EXACT["num_download"]), "the numbers")
    same(repo.created_at.ToJsonString(), EXACT["created_at"], "the time before 1970")
    same(repo.updated_at.ToJsonString(), EXACT["updated_at"], "the time")
    return OK


@case("25,000 repositories of the embedded upstream come in order, by one stream")
async def server_streaming(stage: Stage) -> str:
    await stage.connect(stage.world.embedded)
    result = await stage.stream_repos(StreamReposRequest(page_size=1000))
    must_end(result, "OK")
    wanted = [one.record["name"] for one in default_repositories(TOTAL) if one.center == "self"]
    expect([repo.name for repo in repos_of(result)] == wanted, "the repositories are others, or in another order")
    return OK


@case("A page of 6 MB, with the client's own limit: its status where it is over that", "RESOURCE_EXHAUSTED")
async def large_page(stage: Stage) -> str:
    return await _page_of_6_mb(stage, 0)


@case("A page of 6 MB, with the client's limit raised to 16 MiB")
async def large_page_with_room(stage: Stage) -> str:
    same(await _page_of_6_mb(stage, ROOM), "OK", "the status")
    return OK


async def _page_of_6_mb(stage: Stage, most: int) -> str:
    stage.upstream.play((listing(1000, WORDS),))
    await stage.connect(max_reply_bytes=most)
    result = await stage.list_repos(PAGE)
    if code_of(result) == "OK":
        same([repo.name for repo in repos_of(result)], names(1000), "what the page holds")
    return code_of(result)


@case("The same 6 MB by one stream, with the client's own limit")
async def large_page_by_stream(stage: Stage) -> str:
    return await _stream_of_6_mb(stage)


@case(f"The same stream, and the client pauses {PAUSE_MS} ms behind each message: all comes")
async def slow_reader(stage: Stage) -> str:
    return await _stream_of_6_mb(stage, pause_ms=PAUSE_MS)


async def _stream_of_6_mb(stage: Stage, pause_ms: int = 0) -> str:
    stage.upstream.play((listing(1000, WORDS),))
    await stage.connect()
    result = await stage.stream_repos(StreamReposRequest(page_size=1000), pause_ms=pause_ms)
    must_end(result, "OK")
    same([repo.name for repo in repos_of(result)], names(1000), "what the stream holds")
    return OK
