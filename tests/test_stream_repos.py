"""StreamRepos: the whole list, in order, without doubles, no faster than the caller reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Serve
from failures import Failure, read_failure
from gateway.core import pager
from gateway.core.content_range import ContentRange
from gateway.core.filter import Page
from gateway.core.pages import RowPage
from gateway.core.row_decoding import Identity
from gateway.core.stream import MAX_MESSAGE_BYTES, StreamAssembler
from gateway.listing.prefetching import Fetch, PageReader
from gateway.simulator.app import Faults, make_app, running
from gateway.simulator.data import default_repositories
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from in_threads import InThreads
from scripted_upstream import Act, Request, Script, ScriptedUpstream, answer, page
from swr_gateway_client import Client

Message = repos_pb2.StreamReposResponse


@dataclass
class Listing:
    """An upstream's list, which answers pages of it.

    Attributes:
        rows: What there is; None is hidden, but counts.
        content_range: Whether it says where a page lies.
        cap: Most rows that it looks at for a page.
        cuts: The most rows of the page at an offset.
        multiples_only: Whether it refuses offsets that are no multiples of the limit.
        total: What it says there are in all, if that is not what there is.
    """

    rows: list[dict[str, Any] | None]
    content_range: bool = True
    cap: int = 10_000
    cuts: dict[int, int] = field(default_factory=dict)
    multiples_only: bool = False
    total: int = 0

    def __call__(self, request: Request) -> bytes:
        offset, limit = int(request.clause("offset")), int(request.clause("limit"))
        if self.multiples_only and offset % limit:
            return answer(400, '[{"errorCode":"SVCSTG.SWR.4000014","errorMessage":"offset is no multiple of limit"}]')
        window = self.rows[offset : offset + min(limit, self.cap)]
        rows = [row for row in window if row is not None][: self.cuts.get(offset)]
        position = f"{offset}-{len(rows)}/{self.total or len(self.rows)}"
        return page(json.dumps(rows), {"Content-Range": position} if self.content_range else {})


def named(count: int, **more: Any) -> list[dict[str, Any] | None]:
    return [{"name": f"r-{number}", "namespace": "n", **more} for number in range(count)]


def numbered(*numbers: int) -> list[str]:
    return [f"r-{number}" for number in numbers]


def named_only(name: str) -> Identity:
    return "n", name, "", ""


def request(size: int | None = None, start: int | None = None) -> repos_pb2.StreamReposRequest:
    return repos_pb2.StreamReposRequest(page_size=size, start_offset=start)


async def collect(call: grpc.aio.UnaryStreamCall[Any, Message]) -> tuple[list[Message], Failure | None]:
    """Read a stream to its end: what came, and how it failed if it did."""
    messages: list[Message] = []
    try:
        async for message in call:
            messages.append(message)  # noqa: PERF401 - what came before the failure counts
    except grpc.aio.AioRpcError as error:
        return messages, read_failure(error)
    return messages, None


def names(messages: Sequence[Message]) -> list[str]:
    return [repo.name for message in messages for repo in message.repos]


def asked(upstream: ScriptedUpstream) -> list[tuple[int, int]]:
    """Return the pages that were asked for, sorted: requests that travel together arrive in any order."""
    return sorted((int(request.clause("offset")), int(request.clause("limit"))) for request in upstream.requests)


@pytest.mark.parametrize("memo", ["32MiB", "0"], ids=["memo", "no memo"])
@pytest.mark.parametrize(("size", "latency"), [(1000, 0.0), (100, 0.0), (7, 0.0), (None, 0.001)])
async def test_all_repositories_come_in_order(serve: Serve, size: int | None, latency: float, memo: str) -> None:
    repositories = default_repositories(700)
    own = [repository.record["name"] for repository in repositories if repository.center == "self"]
    async with running(make_app(repositories, Faults(latency=latency))) as url:
        stub = (await serve(upstream_url=url, row_memo_bytes=memo)).stub
        messages, failure = await collect(stub.StreamRepos(request(size)))
    assert failure is None
    assert names(messages) == own
    assert messages[-1].next_offset == len(own)
    assert {message.content_range.total for message in messages} == {len(own)}


async def test_every_message_can_be_resumed_behind(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play((Listing(named(50, description="x" * 90_000)),))
    stub = (await serve()).stub
    messages, _ = await collect(stub.StreamRepos(request(20)))
    assert len(messages) > 3
    for number, message in enumerate(messages):
        rest, _ = await collect(stub.StreamRepos(request(20, message.next_offset)))
        assert names(messages[: number + 1]) + names(rest) == [f"r-{number}" for number in range(50)]


@pytest.mark.parametrize(("start", "size", "asked"), [(0, 10, [0, 10, 20]), (20, 10, [20]), (30, 10, [30])])
async def test_offsets_are_whole_pages_behind_the_start(
    serve: Serve, upstream: ScriptedUpstream, start: int, size: int, asked: list[int]
) -> None:
    upstream.play((Listing(named(25)),))
    stub = (await serve()).stub
    messages, failure = await collect(stub.StreamRepos(request(size, start)))
    assert failure is None
    assert names(messages) == [f"r-{number}" for number in range(start, 25)]
    assert upstream.offsets == asked
    assert {request.clause("limit") for request in upstream.requests} == {str(size)}


async def test_an_empty_list_is_one_message_that_says_so(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play((Listing([]),))
    messages, failure = await collect((await serve()).stub.StreamRepos(request()))
    assert failure is None
    assert messages == [Message(content_range=repos_pb2.ContentRange())]


@pytest.mark.parametrize(("count", "asked"), [(20, [0, 10]), (21, [0, 10, 20]), (10, [0])])
async def test_a_full_page_at_the_total_is_the_last(
    serve: Serve, upstream: ScriptedUpstream, count: int, asked: list[int]
) -> None:
    upstream.play((Listing(named(count)),))
    messages, _ = await collect((await serve()).stub.StreamRepos(request(10)))
    assert len(names(messages)) == count
    assert upstream.offsets == asked


@pytest.mark.parametrize(("count", "asked"), [(20, [0, 10, 20]), (21, [0, 10, 20]), (9, [0])])
async def test_without_a_total_a_full_page_means_one_more(
    serve: Serve, upstream: ScriptedUpstream, count: int, asked: list[int]
) -> None:
    upstream.play((Listing(named(count), content_range=False),))
    messages, failure = await collect((await serve()).stub.StreamRepos(request(10)))
    assert failure is None
    assert len(names(messages)) == count
    assert upstream.offsets == asked


# Pages that are shorter than they should be.


@pytest.mark.parametrize("prefetch", [1, 4])
@pytest.mark.parametrize("position", ["header", "rows"])
@pytest.mark.parametrize(("cap", "size"), [(100, 1000), (100, 300), (30, None), (1, 7)])
async def test_a_capped_page_is_not_the_end(
    serve: Serve, upstream: ScriptedUpstream, cap: int, size: int | None, position: str, prefetch: int
) -> None:
    in_rows = {"total_range": 250} if position == "rows" else {}
    upstream.play((Listing(named(250, **in_rows), content_range=position == "header", cap=cap),))
    messages, failure = await collect((await serve(prefetch=prefetch)).stub.StreamRepos(request(size)))
    assert failure is None
    assert names(messages) == numbered(*range(250))
    assert messages[-1].next_offset == 250
    assert asked(upstream) == [(0, size or 100), *((offset, cap) for offset in range(cap, 250, cap))]


async def test_a_total_of_the_rows_counts_where_the_page_disproves_that_of_its_header(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    listing = Listing(named(250, total_range=250), content_range=False, cap=100)

    def reply(request: Request) -> bytes:
        return listing(request).replace(b"Content-Type", b"Content-Range: 0-100/0\r\nContent-Type")

    upstream.play((reply,))
    messages, failure = await collect((await serve()).stub.StreamRepos(request(1000)))
    assert failure is None
    assert names(messages) == numbered(*range(250))


@pytest.mark.parametrize("prefetch", [1, 4])
@pytest.mark.parametrize("at", [0, 100, 200])
async def test_a_page_that_is_cut_is_gone_on_with_behind_its_last_row(
    serve: Serve, upstream: ScriptedUpstream, at: int, prefetch: int
) -> None:
    upstream.play((Listing(named(350), cuts={at: 60}),))
    messages, failure = await collect((await serve(prefetch=prefetch)).stub.StreamRepos(request()))
    assert failure is None
    assert names(messages) == numbered(*range(350))


@pytest.mark.parametrize("prefetch", [1, 4])
@pytest.mark.parametrize("position", ["header", "rows"])
async def test_an_empty_page_in_the_middle_is_not_the_end(
    serve: Serve, upstream: ScriptedUpstream, position: str, prefetch: int
) -> None:
    in_rows = {"total_range": 500} if position == "rows" else {}
    rows = named(500, **in_rows)
    rows[100:300] = [None] * 200
    upstream.play((Listing(rows, content_range=position == "header"),))
    messages, failure = await collect((await serve(prefetch=prefetch)).stub.StreamRepos(request()))
    assert failure is None
    assert names(messages) == numbered(*range(100), *range(300, 500))
    assert asked(upstream) == [(offset, 100) for offset in range(0, 500, 100)]


async def test_rows_that_a_caller_may_not_see_do_not_end_the_list(serve: Serve, upstream: ScriptedUpstream) -> None:
    rows = [row if number % 3 else None for number, row in enumerate(named(250))]
    upstream.play((Listing(rows),))
    messages, failure = await collect((await serve()).stub.StreamRepos(request()))
    assert failure is None
    assert names(messages) == numbered(*(number for number in range(250) if number % 3))


async def test_a_total_that_is_too_large_costs_about_the_pages_that_it_promises(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    upstream.play((Listing(named(250), total=1000),))
    messages, failure = await collect((await serve(prefetch=1)).stub.StreamRepos(request()))
    assert failure is None
    assert names(messages) == numbered(*range(250))
    assert len(upstream.requests) <= 12  # ten pages, one behind the short one, one that was ahead of it


async def test_a_list_that_says_for_ever_that_more_follow_is_not_called_complete(
    serve: Serve, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pager, "MAX_IDLE_PAGES", 3)
    upstream.play((Listing(named(250), total=10_000),))
    messages, failure = await collect((await serve(prefetch=1)).stub.StreamRepos(request()))
    assert failure
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "UPSTREAM_NO_PROGRESS")
    assert "its total says that more repositories follow" in failure.message
    assert names(messages) == numbered(*range(250))


# Regions that want offsets that are multiples of the limit.


@pytest.mark.parametrize(
    ("start", "size", "pages_asked"),
    [
        (176, None, [(100, 100), (200, 100)]),
        (176, 1000, [(0, 1000)]),
        (100, 1000, [(0, 1000)]),
        (199, 100, [(100, 100), (200, 100)]),
        (200, 100, [(200, 100)]),
        (249, 7, [(245, 7)]),
        (250, 100, [(200, 100)]),
        (777, 10, [(770, 10)]),
    ],
)
async def test_a_start_between_pages_is_read_from_the_multiple_below(
    serve: Serve, upstream: ScriptedUpstream, start: int, size: int | None, pages_asked: list[tuple[int, int]]
) -> None:
    upstream.play((Listing(named(250), multiples_only=True),))
    messages, failure = await collect((await serve()).stub.StreamRepos(request(size, start)))
    assert failure is None
    assert names(messages) == numbered(*range(start, 250))
    assert asked(upstream) == pages_asked
    assert messages[-1].next_offset == max(start, 250)


@pytest.mark.parametrize("start", [0, 176, 99])
@pytest.mark.parametrize("size", [1000, 300, 100])
async def test_a_region_may_want_multiples_and_cap_pages(
    serve: Serve, upstream: ScriptedUpstream, start: int, size: int
) -> None:
    upstream.play((Listing(named(250), multiples_only=True, cap=100),))
    messages, failure = await collect((await serve()).stub.StreamRepos(request(size, start)))
    assert failure is None
    assert names(messages) == numbered(*range(start, 250))


async def test_every_message_can_be_resumed_behind_where_offsets_must_be_multiples(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    upstream.play((Listing(named(50, description="x" * 90_000), multiples_only=True),))
    stub = (await serve()).stub
    messages, _ = await collect(stub.StreamRepos(request(20)))
    assert len({message.next_offset % 20 for message in messages}) > 2
    for number, message in enumerate(messages):
        rest, failure = await collect(stub.StreamRepos(request(20, message.next_offset)))
        assert failure is None
        assert names(messages[: number + 1]) + names(rest) == numbered(*range(50))


@pytest.mark.parametrize("kind", [Client, InThreads])
@pytest.mark.parametrize("cap", [10_000, 70])
async def test_the_client_resumes_between_pages_where_offsets_must_be_multiples(
    serve: Serve, upstream: ScriptedUpstream, cap: int, kind: type[Client | InThreads]
) -> None:
    listing = Listing(named(350), cuts={100: 60, 140: 20}, multiples_only=True, cap=cap)
    broken: list[int] = []

    def reply(request: Request) -> bytes:
        offset = int(request.clause("offset"))
        if offset == 160 and not broken:
            broken.append(offset)
            return answer(503)
        return listing(request)

    upstream.play((reply,))
    async with kind((await serve()).address) as client:
        assert [repo.name async for repo in client.iter_repos()] == numbered(*range(350))
    assert broken == [160]


@pytest.mark.parametrize(("total", "read"), [(15, 15), (45, 45)], ids=["shrinks", "grows"])
async def test_a_total_that_moves_is_followed(serve: Serve, upstream: ScriptedUpstream, total: int, read: int) -> None:
    listing = Listing(named(30))

    def first(request: Request) -> bytes:
        reply = listing(request)
        listing.rows = named(total)
        return reply

    upstream.play((first,), (listing,))
    messages, failure = await collect((await serve()).stub.StreamRepos(request(10)))
    assert failure is None
    assert len(names(messages)) == read


@pytest.mark.parametrize("total", ["0-10/0", "0-10/5"])
async def test_a_total_that_the_page_disproves_is_not_believed(
    serve: Serve, upstream: ScriptedUpstream, total: str
) -> None:
    listing = Listing(named(25), content_range=False)

    def reply(request: Request) -> bytes:
        return listing(request).replace(b"Content-Type", f"Content-Range: {total}\r\nContent-Type".encode())

    upstream.play((reply,))
    messages, failure = await collect((await serve()).stub.StreamRepos(request(10)))
    assert failure is None
    assert len(names(messages)) == 25


async def test_pages_behind_a_total_that_shrank_are_not_waited_for(serve: Serve, upstream: ScriptedUpstream) -> None:
    listing = Listing(named(50))

    def reply(request: Request) -> bytes:
        offset = int(request.clause("offset"))
        if offset >= 20:
            return answer(416)
        reply = listing(request)
        listing.rows = named(20)
        return reply

    upstream.play((reply,))
    messages, failure = await collect((await serve()).stub.StreamRepos(request(10)))
    assert failure is None
    assert len(names(messages)) == 20


async def test_a_repository_on_two_pages_is_sent_once(serve: Serve, upstream: ScriptedUpstream) -> None:
    listing = Listing(named(30))

    def first(request: Request) -> bytes:
        reply = listing(request)
        listing.rows.insert(0, {"name": "new", "namespace": "n"})
        return reply

    upstream.play((first,), (listing,))
    messages, failure = await collect((await serve()).stub.StreamRepos(request(10)))
    assert failure is None
    assert names(messages) == [f"r-{number}" for number in range(30)]


@pytest.mark.parametrize("namespace", [{}, {"namespace": None}, {"namespace": ""}], ids=["missing", "null", "empty"])
async def test_namesakes_without_a_namespace_are_told_apart_by_all_that_they_say(
    serve: Serve, upstream: ScriptedUpstream, namespace: dict[str, Any]
) -> None:
    rows = [
        {"name": "nginx", "path": f"swr.cn-north-4.myhuaweicloud.com/team-{at}/nginx"} | namespace for at in range(6)
    ]
    upstream.play((Listing([*rows, *rows[:2]]),))
    messages, failure = await collect((await serve()).stub.StreamRepos(request(3)))
    assert failure is None
    assert [repo.path for message in messages for repo in message.repos] == [row["path"] for row in rows]


async def test_shared_repositories_of_the_same_name_are_told_apart_by_whose_they_are(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    row = {"name": "nginx", "namespace": "group"}
    shared: list[Any] = [
        row | {"domain_name": "a", "path": "swr.a.example/group/nginx"},
        row | {"domain_name": "b", "path": "swr.a.example/group/nginx"},
        row | {"domain_name": "b", "path": "swr.b.example/group/nginx"},
        row,
    ]
    upstream.play((Listing([*shared, *shared]),))
    messages, failure = await collect((await serve()).stub.StreamRepos(request(5)))
    assert failure is None
    got = [(repo.domain_name, repo.path) for message in messages for repo in message.repos]
    assert got == [(repo.get("domain_name", ""), repo.get("path", "")) for repo in shared]


async def test_a_repository_whose_counters_moved_with_the_list_is_sent_once(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    listing = Listing(named(30, num_download=1))

    def first(request: Request) -> bytes:
        reply = listing(request)
        listing.rows = [{"name": "new", "namespace": "n"}, *named(30, num_download=2)]
        return reply

    upstream.play((first,), (listing,))
    messages, failure = await collect((await serve()).stub.StreamRepos(request(10)))
    assert failure is None
    assert names(messages) == numbered(*range(30))


@pytest.mark.parametrize(
    "rows",
    [named(10), [{"size": number} for number in range(10)], named(10, total_range=1000)],
    ids=["named", "nameless", "with a total"],
)
async def test_an_upstream_that_ignores_offsets_does_not_go_on_for_ever(
    serve: Serve, upstream: ScriptedUpstream, rows: list[Any]
) -> None:
    upstream.play(page(json.dumps(rows)))
    messages, failure = await collect((await serve()).stub.StreamRepos(request(10)))
    assert failure
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "UPSTREAM_NO_PROGRESS")
    assert len(messages) == 1


# Of 200, told by the rows, it looks as if just the first hundred were hidden.
@pytest.mark.parametrize(
    ("position", "total"), [("header", 200), ("header", 300), ("header", 1000), ("rows", 300), ("rows", 1000)]
)
async def test_an_upstream_that_ignores_offsets_and_caps_pages_is_not_called_complete(
    serve: Serve, upstream: ScriptedUpstream, position: str, total: int
) -> None:
    in_rows = {"total_range": total} if position == "rows" else {}
    header = {"Content-Range": f"0-100/{total}"} if position == "header" else {}
    upstream.play(page(json.dumps(named(100, **in_rows)), header))
    messages, failure = await collect((await serve(prefetch=1)).stub.StreamRepos(request(1000)))
    assert failure
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "UPSTREAM_NO_PROGRESS")
    assert names(messages) == numbered(*range(100))
    assert len(upstream.requests) <= 4


@pytest.mark.parametrize(
    ("bad", "fields"),
    [
        (repos_pb2.StreamReposRequest(page_size=0), ["page_size"]),
        (repos_pb2.StreamReposRequest(page_size=1001, start_offset=-1), ["page_size", "start_offset"]),
        (
            repos_pb2.StreamReposRequest(filter=repos_pb2.RepoFilter(name="a|b"), page_size=-1),
            ["filter.name", "page_size"],
        ),
    ],
)
async def test_every_violation_is_named_and_nothing_goes_upstream(
    serve: Serve, upstream: ScriptedUpstream, bad: repos_pb2.StreamReposRequest, fields: list[str]
) -> None:
    _, failure = await collect((await serve()).stub.StreamRepos(bad))
    assert failure
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [field for field, _ in failure.violations] == fields
    assert upstream.requests == []


async def test_an_error_on_a_later_page_ends_the_stream_behind_the_pages_before(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    listing = Listing(named(50))

    def reply(request: Request) -> bytes:
        if request.clause("offset") == "20":
            return answer(403, '[{"errorCode":"SVCSTG.SWR.4031042","errorMessage":"too many"}]')
        return listing(request)

    upstream.play((reply,))
    messages, failure = await collect((await serve()).stub.StreamRepos(request(10)))
    assert failure
    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "UPSTREAM_RATE_LIMITED")
    assert failure.info.metadata["upstreamCode"] == "SVCSTG.SWR.4031042"
    assert names(messages) == [f"r-{number}" for number in range(20)]
    assert messages[-1].next_offset == 20


def stall(upstream: ScriptedUpstream) -> None:
    """Answer the first page, and none of the others."""
    upstream.play((Listing(named(1000)),), (Act.STALL,))


async def test_pages_are_read_ahead_once_the_total_is_known(serve: Serve, upstream: ScriptedUpstream) -> None:
    stall(upstream)
    call = (await serve(prefetch=3)).stub.StreamRepos(request(10))
    await call.read()
    await upstream.all_arrived(4)
    assert upstream.offsets == [0, 10, 20, 30]
    call.cancel()


async def test_a_cancelled_stream_closes_every_upstream_request(serve: Serve, upstream: ScriptedUpstream) -> None:
    stall(upstream)
    call = (await serve()).stub.StreamRepos(request(10))
    await call.read()
    await upstream.all_arrived(5)
    call.cancel()
    await upstream.all_hung_up(4)


async def test_a_callers_deadline_ends_the_stream_and_its_upstream_requests(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    stub = (await serve()).stub
    messages: list[Message] = []
    while not messages or len(upstream.requests) < 5:  # on a busy machine the time may end before all were asked for
        upstream.requests.clear()
        stall(upstream)
        messages, failure = await collect(stub.StreamRepos(request(10), timeout=0.5))
        assert failure
        assert failure.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(messages) == 1
    await upstream.all_hung_up(4)


async def test_an_error_ends_the_requests_that_were_made_ahead(serve: Serve, upstream: ScriptedUpstream) -> None:
    scripts: dict[int, Script] = {0: (Listing(named(1000)),), 10: (answer(500),)}
    upstream.choose = lambda request: scripts.get(int(request.clause("offset")), (Act.STALL,))
    _, failure = await collect((await serve()).stub.StreamRepos(request(10)))
    assert failure
    assert failure.reason == "UPSTREAM_INTERNAL"
    await upstream.all_hung_up(len(upstream.requests) - 2)


async def test_a_caller_who_stops_reading_stops_the_upstream_requests(serve: Serve, upstream: ScriptedUpstream) -> None:
    prefetch = 2
    upstream.play((Listing(named(10_000, description="x" * 20_000)),))
    channel = (await serve(prefetch=prefetch, channel_options=(("grpc.http2.bdp_probe", 0),))).channel
    stub = RepoServiceStub(channel)
    call = stub.StreamRepos(request(40))  # a page is 800 kB, and the window of the connection 64 KiB
    await call.read()
    for _ in range(50):  # other calls go on meanwhile, and give the stream every chance to go too far
        await stub.ListRepos(repos_pb2.ListReposRequest(offset=9_999, limit=1))
    streamed = [offset for offset in upstream.offsets if offset != 9_999]
    assert len(streamed) <= 1 + prefetch + 2
    call.cancel()


async def test_messages_are_split_on_rows_at_one_mebibyte(serve: Serve, upstream: ScriptedUpstream) -> None:
    rows = [
        {"name": f"r-{row}", "namespace": "n", "tags": [f"tag-r-{row}-{number}" for number in range(3000)]}
        for row in range(100)
    ]
    upstream.play((Listing([*rows]),))
    channel = (await serve()).channel
    call = channel.unary_stream("/gateway.swr.v1.RepoService/StreamRepos")(request().SerializeToString())
    raw = [message async for message in call]
    messages = [Message.FromString(message) for message in raw]
    assert len(raw) > 3
    assert max(map(len, raw)) <= MAX_MESSAGE_BYTES
    assert names(messages) == [row["name"] for row in rows]
    assert all(len(repo.tags) == 3000 for message in messages for repo in message.repos)
    assert {message.content_range.total for message in messages} == {100}


async def test_a_row_that_is_larger_than_a_message_should_be_has_one_of_its_own(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    rows = named(3)
    rows[1] = {"name": "r-1", "namespace": "n", "description": "x" * (MAX_MESSAGE_BYTES + 1)}
    upstream.play((Listing(rows),))
    options = (("grpc.max_receive_message_length", 2 * MAX_MESSAGE_BYTES),)
    messages, failure = await collect((await serve(channel_options=options)).stub.StreamRepos(request()))
    assert failure is None
    assert [names([message]) for message in messages] == [["r-0"], ["r-1"], ["r-2"]]
    assert [message.ByteSize() > MAX_MESSAGE_BYTES for message in messages] == [False, True, False]


# A list that moves while it is read, without sockets: every interleaving that hypothesis finds.


@given(
    count=st.integers(0, 60),
    size=st.integers(1, 9),
    ahead=st.integers(1, 4),
    total_known=st.booleans(),
    moves=st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=25),
)
def test_of_a_moving_list_nothing_comes_twice_and_nothing_is_missing_that_stayed_unread(
    count: int, size: int, ahead: int, total_known: bool, moves: list[tuple[bool, int]]
) -> None:
    rows = [f"r-{number}" for number in range(count)]
    pending = list(moves)
    always, excused, frontier = set(rows), set[str](), 0

    async def fetch(wanted: Page) -> RowPage:
        nonlocal rows, frontier
        if pending:
            insert, place = pending.pop()
            before = rows
            at = place % (len(rows) + 1)
            if insert:
                rows = [*rows[:at], f"new-{len(pending)}", *rows[at:]]
            else:
                rows = [*rows[:at], *rows[at + 1 :]]
                always.difference_update(before[at : at + 1])
            # What was unread and now lies where pages were read already has slipped past the reader.
            excused.update(set(before[frontier:]) & set(rows[:frontier]))
        frontier = max(frontier, wanted.offset + wanted.limit)
        shown = rows[wanted.offset : wanted.offset + wanted.limit]
        position = ContentRange(wanted.offset, len(shown), len(rows))
        fields = [Message(repos=[repos_pb2.Repo(name=name)]).SerializeToString() for name in shown]
        return RowPage(wanted, fields, list(map(named_only, shown)), position if total_known else None, total_known)

    def begin(wanted: Page, _: bool) -> Fetch[RowPage]:
        return Fetch(wanted, asyncio.create_task(fetch(wanted)), None)

    async def convert(_: Page, fetched: RowPage) -> RowPage:
        return fetched

    async def read() -> list[str]:
        reader = PageReader(begin, convert, StreamAssembler(Page(0, size)), ahead)
        async with aclosing(reader.messages()) as messages:
            return names([Message.FromString(message) async for message in messages])

    if not total_known and size == 1:
        return  # one insertion in front makes a page that shows nothing new, which is what no progress looks like
    got = asyncio.run(read())
    assert len(got) == len(set(got))
    assert always - set(got) <= excused


def test_a_repository_is_forgotten_only_after_many_others() -> None:
    assembler = StreamAssembler(Page(0, 1))

    def sent(offset: int, *names_of: str) -> int:
        identities = list(map(named_only, names_of))
        rows = RowPage(Page(offset, len(names_of)), [b"\x0a\x00"] * len(names_of), identities, None, claimed=True)
        return sum(len(Message.FromString(message).repos) for message in assembler.take(rows))

    assert sent(0, "first") == 1
    assert sent(1, *map(str, range(19_999))) == 19_999
    assert sent(20_000, "first") == 0
    assert sent(20_001, "one more") == 1
    assert sent(20_002, "first") == 1
