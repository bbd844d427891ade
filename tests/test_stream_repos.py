"""StreamRepos: the whole list, in order, without doubles, no faster than the caller reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Connect
from failures import Failure, read_failure
from gateway.core.convert import RowPage
from gateway.core.filter import Page
from gateway.core.stream import MAX_MESSAGE_BYTES, StreamAssembler
from gateway.server.paging import read_pages
from gateway.simulator.app import Faults, make_app, running
from gateway.simulator.data import default_repositories
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from scripted_upstream import Act, Request, ScriptedUpstream, answer, page

Message = repos_pb2.StreamReposResponse


class Listing:
    """An upstream's list, which answers pages of it, with or without saying where they lie."""

    def __init__(self, rows: Sequence[dict[str, Any]], *, content_range: bool = True) -> None:
        self.rows = list(rows)
        self.content_range = content_range

    def __call__(self, request: Request) -> bytes:
        offset, limit = int(request.clause("offset")), int(request.clause("limit"))
        rows = self.rows[offset : offset + limit]
        position = {"Content-Range": f"{offset}-{len(rows)}/{len(self.rows)}"} if self.content_range else {}
        return page(json.dumps(rows), position)


def named(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"name": f"r-{number}", "namespace": "n", **more} for number in range(count)]


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


def offsets(upstream: ScriptedUpstream) -> list[int]:
    return [int(request.clause("offset")) for request in upstream.requests]


@pytest.mark.parametrize("memo", ["32MiB", "0"], ids=["memo", "no memo"])
@pytest.mark.parametrize(("size", "latency"), [(1000, 0.0), (100, 0.0), (7, 0.0), (None, 0.001)])
async def test_all_repositories_come_in_order(connect: Connect, size: int | None, latency: float, memo: str) -> None:
    repositories = default_repositories(700)
    own = [repository.record["name"] for repository in repositories if repository.center == "self"]
    async with running(make_app(repositories, Faults(latency=latency))) as url:
        stub = RepoServiceStub(await connect(url, row_memo_bytes=memo))
        messages, failure = await collect(stub.StreamRepos(request(size)))
    assert failure is None
    assert names(messages) == own
    assert messages[-1].next_offset == len(own)
    assert {message.content_range.total for message in messages} == {len(own)}


async def test_every_message_can_be_resumed_behind(connect: Connect, upstream: ScriptedUpstream) -> None:
    upstream.play((Listing(named(50, description="x" * 90_000)),))
    stub = RepoServiceStub(await connect(upstream.url))
    messages, _ = await collect(stub.StreamRepos(request(20)))
    assert len(messages) > 3
    for number, message in enumerate(messages):
        rest, _ = await collect(stub.StreamRepos(request(20, message.next_offset)))
        assert names(messages[: number + 1]) + names(rest) == [f"r-{number}" for number in range(50)]


@pytest.mark.parametrize(("start", "size", "asked"), [(0, 10, [0, 10, 20]), (7, 10, [7, 17]), (25, 10, [25])])
async def test_offsets_are_whole_pages_behind_the_start(
    connect: Connect, upstream: ScriptedUpstream, start: int, size: int, asked: list[int]
) -> None:
    upstream.play((Listing(named(25)),))
    stub = RepoServiceStub(await connect(upstream.url))
    messages, failure = await collect(stub.StreamRepos(request(size, start)))
    assert failure is None
    assert names(messages) == [f"r-{number}" for number in range(start, 25)]
    assert offsets(upstream) == asked
    assert {request.clause("limit") for request in upstream.requests} == {str(size)}


async def test_an_empty_list_is_one_message_that_says_so(connect: Connect, upstream: ScriptedUpstream) -> None:
    upstream.play((Listing([]),))
    messages, failure = await collect(RepoServiceStub(await connect(upstream.url)).StreamRepos(request()))
    assert failure is None
    assert messages == [Message(content_range=repos_pb2.ContentRange())]


@pytest.mark.parametrize(("count", "asked"), [(20, [0, 10]), (21, [0, 10, 20]), (10, [0])])
async def test_a_full_page_at_the_total_is_the_last(
    connect: Connect, upstream: ScriptedUpstream, count: int, asked: list[int]
) -> None:
    upstream.play((Listing(named(count)),))
    messages, _ = await collect(RepoServiceStub(await connect(upstream.url)).StreamRepos(request(10)))
    assert len(names(messages)) == count
    assert offsets(upstream) == asked


@pytest.mark.parametrize(("count", "asked"), [(20, [0, 10, 20]), (21, [0, 10, 20]), (9, [0])])
async def test_without_a_total_a_full_page_means_one_more(
    connect: Connect, upstream: ScriptedUpstream, count: int, asked: list[int]
) -> None:
    upstream.play((Listing(named(count), content_range=False),))
    messages, failure = await collect(RepoServiceStub(await connect(upstream.url)).StreamRepos(request(10)))
    assert failure is None
    assert len(names(messages)) == count
    assert offsets(upstream) == asked


@pytest.mark.parametrize(("total", "read"), [(15, 15), (45, 45)], ids=["shrinks", "grows"])
async def test_a_total_that_moves_is_followed(
    connect: Connect, upstream: ScriptedUpstream, total: int, read: int
) -> None:
    listing = Listing(named(30))

    def first(request: Request) -> bytes:
        reply = listing(request)
        listing.rows = named(total)
        return reply

    upstream.play((first,), (listing,))
    messages, failure = await collect(RepoServiceStub(await connect(upstream.url)).StreamRepos(request(10)))
    assert failure is None
    assert len(names(messages)) == read


@pytest.mark.parametrize("total", ["0-10/0", "0-10/5"])
async def test_a_total_that_the_page_disproves_is_not_believed(
    connect: Connect, upstream: ScriptedUpstream, total: str
) -> None:
    listing = Listing(named(25), content_range=False)

    def reply(request: Request) -> bytes:
        return listing(request).replace(b"Content-Type", f"Content-Range: {total}\r\nContent-Type".encode())

    upstream.play((reply,))
    messages, failure = await collect(RepoServiceStub(await connect(upstream.url)).StreamRepos(request(10)))
    assert failure is None
    assert len(names(messages)) == 25


async def test_pages_behind_a_total_that_shrank_are_not_waited_for(
    connect: Connect, upstream: ScriptedUpstream
) -> None:
    listing = Listing(named(50))

    def reply(request: Request) -> bytes:
        offset = int(request.clause("offset"))
        if offset >= 20:
            return answer(416)
        reply = listing(request)
        listing.rows = named(20)
        return reply

    upstream.play((reply,))
    messages, failure = await collect(RepoServiceStub(await connect(upstream.url)).StreamRepos(request(10)))
    assert failure is None
    assert len(names(messages)) == 20


async def test_a_repository_on_two_pages_is_sent_once(connect: Connect, upstream: ScriptedUpstream) -> None:
    listing = Listing(named(30))

    def first(request: Request) -> bytes:
        reply = listing(request)
        listing.rows.insert(0, {"name": "new", "namespace": "n"})
        return reply

    upstream.play((first,), (listing,))
    messages, failure = await collect(RepoServiceStub(await connect(upstream.url)).StreamRepos(request(10)))
    assert failure is None
    assert names(messages) == [f"r-{number}" for number in range(30)]


@pytest.mark.parametrize(
    "rows",
    [named(10), [{"size": number} for number in range(10)], named(10, total_range=1000)],
    ids=["named", "nameless", "with a total"],
)
async def test_an_upstream_that_ignores_offsets_does_not_go_on_for_ever(
    connect: Connect, upstream: ScriptedUpstream, rows: list[dict[str, Any]]
) -> None:
    upstream.play(page(json.dumps(rows)))
    messages, failure = await collect(RepoServiceStub(await connect(upstream.url)).StreamRepos(request(10)))
    assert failure
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "UPSTREAM_NO_PROGRESS")
    assert len(messages) == 1


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
    connect: Connect, upstream: ScriptedUpstream, bad: repos_pb2.StreamReposRequest, fields: list[str]
) -> None:
    _, failure = await collect(RepoServiceStub(await connect(upstream.url)).StreamRepos(bad))
    assert failure
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [field for field, _ in failure.violations] == fields
    assert upstream.requests == []


async def test_an_error_on_a_later_page_ends_the_stream_behind_the_pages_before(
    connect: Connect, upstream: ScriptedUpstream
) -> None:
    listing = Listing(named(50))

    def reply(request: Request) -> bytes:
        if request.clause("offset") == "20":
            return answer(403, '[{"errorCode":"SVCSTG.SWR.4031042","errorMessage":"too many"}]')
        return listing(request)

    upstream.play((reply,))
    messages, failure = await collect(RepoServiceStub(await connect(upstream.url)).StreamRepos(request(10)))
    assert failure
    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "UPSTREAM_RATE_LIMITED")
    assert failure.info.metadata["upstreamCode"] == "SVCSTG.SWR.4031042"
    assert names(messages) == [f"r-{number}" for number in range(20)]
    assert messages[-1].next_offset == 20


class Stalling:
    """Answers the first page, and none of the others; counts those whose client has hung up."""

    def __init__(self, upstream: ScriptedUpstream, pages: int) -> None:
        upstream.play((Listing(named(1000)),), (Act.STALL,))
        self.upstream = upstream
        self.pages = pages

    async def all_asked(self) -> None:
        await self.upstream.all_arrived(self.pages)


async def test_pages_are_read_ahead_once_the_total_is_known(connect: Connect, upstream: ScriptedUpstream) -> None:
    stalling = Stalling(upstream, pages=4)
    call = RepoServiceStub(await connect(upstream.url, prefetch=3)).StreamRepos(request(10))
    await call.read()
    await stalling.all_asked()
    assert offsets(upstream) == [0, 10, 20, 30]
    call.cancel()


async def test_a_cancelled_stream_closes_every_upstream_request(connect: Connect, upstream: ScriptedUpstream) -> None:
    stalling = Stalling(upstream, pages=5)
    call = RepoServiceStub(await connect(upstream.url)).StreamRepos(request(10))
    await call.read()
    await stalling.all_asked()
    call.cancel()
    await upstream.all_hung_up(4)


async def test_a_callers_deadline_ends_the_stream_and_its_upstream_requests(
    connect: Connect, upstream: ScriptedUpstream
) -> None:
    stub = RepoServiceStub(await connect(upstream.url))
    messages: list[Message] = []
    while not messages or len(upstream.requests) < 5:  # on a busy machine the time may end before all were asked for
        upstream.requests.clear()
        Stalling(upstream, pages=5)
        messages, failure = await collect(stub.StreamRepos(request(10), timeout=0.5))
        assert failure
        assert failure.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(messages) == 1
    await upstream.all_hung_up(4)


async def test_an_error_ends_the_requests_that_were_made_ahead(connect: Connect, upstream: ScriptedUpstream) -> None:
    upstream.play((Listing(named(1000)),), answer(500), (Act.STALL,))
    _, failure = await collect(RepoServiceStub(await connect(upstream.url)).StreamRepos(request(10)))
    assert failure
    assert failure.reason == "UPSTREAM_INTERNAL"
    await upstream.all_hung_up(len(upstream.requests) - 2)


async def test_a_caller_who_stops_reading_stops_the_upstream_requests(
    connect: Connect, upstream: ScriptedUpstream
) -> None:
    prefetch = 2
    upstream.play((Listing(named(10_000, description="x" * 20_000)),))
    channel: Any = await connect(upstream.url, prefetch=prefetch, channel_options=(("grpc.http2.bdp_probe", 0),))
    stub = RepoServiceStub(channel)
    call = stub.StreamRepos(request(40))  # a page is 800 kB, and the window of the connection 64 KiB
    await call.read()
    for _ in range(50):  # other calls go on meanwhile, and give the stream every chance to go too far
        await stub.ListRepos(repos_pb2.ListReposRequest(offset=9_999, limit=1))
    streamed = [offset for offset in offsets(upstream) if offset != 9_999]
    assert len(streamed) <= 1 + prefetch + 2
    call.cancel()


async def test_messages_are_split_on_rows_at_one_mebibyte(connect: Connect, upstream: ScriptedUpstream) -> None:
    rows = [row | {"tags": [f"tag-{row['name']}-{number}" for number in range(3000)]} for row in named(100)]
    upstream.play((Listing(rows),))
    channel: Any = await connect(upstream.url)
    call = channel.unary_stream("/gateway.swr.v1.RepoService/StreamRepos")(request().SerializeToString())
    raw = [message async for message in call]
    messages = [Message.FromString(message) for message in raw]
    assert len(raw) > 3
    assert max(map(len, raw)) <= MAX_MESSAGE_BYTES
    assert names(messages) == [row["name"] for row in rows]
    assert all(len(repo.tags) == 3000 for message in messages for repo in message.repos)
    assert {message.content_range.total for message in messages} == {100}


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
        position = repos_pb2.ContentRange(offset=wanted.offset, count=len(shown), total=len(rows))
        fields = [Message(repos=[repos_pb2.Repo(name=name)]).SerializeToString() for name in shown]
        names_of = [("n", name) for name in shown]
        return RowPage(wanted, fields, names_of, position if total_known else None, claimed=total_known)

    async def convert(_: Page, fetched: RowPage) -> RowPage:
        return fetched

    async def read() -> list[str]:
        assembler = StreamAssembler()
        got: list[str] = []
        async with aclosing(read_pages(fetch, convert, Page(0, size), ahead)) as pages:
            async for rows in pages:
                got += names([Message.FromString(message) for message in assembler.messages(rows)])
        return got

    if not total_known and size == 1:
        return  # one insertion in front makes a page that shows nothing new, which is what no progress looks like
    got = asyncio.run(read())
    assert len(got) == len(set(got))
    assert always - set(got) <= excused


def test_a_repository_is_forgotten_only_after_many_others() -> None:
    assembler = StreamAssembler()
    first = RowPage(Page(0, 1), [b"\x0a\x00"], [("n", "first")], None)
    others = RowPage(Page(1, 30_000), [b"\x0a\x00"] * 19_999, [("n", str(number)) for number in range(19_999)], None)
    one_more = RowPage(Page(30_001, 2), [b"\x0a\x00"], [("n", "one more")], None)

    def sent(rows: RowPage) -> int:
        return sum(len(Message.FromString(message).repos) for message in assembler.messages(rows))

    assert sent(first) == 1
    assert sent(others) == 19_999
    assert sent(RowPage(Page(2, 2), first.fields, first.identities, None)) == 0
    assert sent(one_more) == 1
    assert sent(first) == 1
