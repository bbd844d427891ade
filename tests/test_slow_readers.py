"""Readers that stand still: what is held for them is little, and not for ever. And callers who send no request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from conftest import Serve, Served
from gateway.core.filter import Page
from gateway.core.pages import RowPage
from gateway.core.stream import FIRST_MESSAGE_BYTES, MAX_MESSAGE_BYTES, StreamAssembler
from gateway.listing import conversions as converting
from gateway.listing.conversions import Conversions
from gateway.reliability import timeouts
from gateway.reliability.byte_budget import ByteBudget
from gateway.server import waiting
from gateway.server.interceptor import STANDS_STILL
from gateway.swr.v1 import repos_pb2
from http2 import WHOLE_WINDOW, Frame, Kind, peer
from patience import Advance, until
from scripted_upstream import Act, Request, ScriptedUpstream, page

LIST, STREAM = "/gateway.swr.v1.RepoService/ListRepos", "/gateway.swr.v1.RepoService/StreamRepos"
WATCH = "/grpc.health.v1.Health/Watch"
METHODS = pytest.mark.parametrize("method", [LIST, STREAM])
REQUEST = repos_pb2.StreamReposRequest(page_size=10)
NOTHING_IS_TAKEN = 0
PATIENCE = 60.0 * 9 / 8  # at the most


def listing(count: int, **more: Any) -> Callable[[Request], bytes]:
    """Return what answers pages of a list."""
    rows = [{"name": f"r-{number}", "namespace": "n", "size": number**4, **more} for number in range(count)]

    def answer(request: Request) -> bytes:
        offset, limit = int(request.clause("offset")), int(request.clause("limit"))
        shown = rows[offset : offset + limit]
        return page(json.dumps(shown), {"Content-Range": f"{offset}-{len(shown)}/{count}"})

    return answer


def failed(served: Served, method: str, reason: str) -> float:
    return served.metric("call_failures_total", grpc_method=method[1:], reason=reason)


def ended_with(code: grpc.StatusCode, frames: list[Frame]) -> bool:
    """Tell whether the first call of a connection has ended with a status: no table has its spelling yet."""
    number = str(code.value[0]).encode()
    return b"\x0bgrpc-status" + bytes((len(number),)) + number in b"".join(frame.payload for frame in frames)


# Time


async def test_a_stream_whose_reader_stands_still_is_ended_and_says_why(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance
) -> None:
    upstream.play((listing(1000),))
    served = await serve()
    async with peer(served.address, NOTHING_IS_TAKEN) as client:
        stream = client.call(STREAM, REQUEST.SerializeToString())
        await served.until(messages_waiting=1)
        assert (served.metric("streams_in_flight"), served.metric("calls_in_flight")) == (1, 1)
        assert 0 < served.metric("messages_waiting_bytes") <= FIRST_MESSAGE_BYTES + 5
        advance(PATIENCE)
        await until(lambda: failed(served, STREAM, "SLOW_READER") == 1)
        client.grow(stream, WHOLE_WINDOW)
        frames = await client.frames_of(stream)
        data = b"".join(frame.payload for frame in frames if frame.kind == Kind.DATA)
        assert repos_pb2.StreamReposResponse.FromString(data[5:]).next_offset == 10
        assert ended_with(grpc.StatusCode.ABORTED, frames)
        await served.until(calls_in_flight=0)
        assert (served.metric("streams_in_flight"), served.metric("messages_waiting")) == (0, 0)
        assert served.metric("calls_dropped_total", grpc_method=STREAM[1:]) == 0


@METHODS
async def test_a_call_whose_reader_takes_not_even_the_status_is_dropped(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance, method: str
) -> None:
    upstream.play(page('[{"name":"a"}]', {"Content-Range": "0-1/1"}))
    served = await serve()
    async with peer(served.address, NOTHING_IS_TAKEN) as client:
        # Of all calls gRPC itself holds the first one and the latest one, whatever becomes of them.
        await client.answer_to("/grpc.reflection.v1.ServerReflection/Nothing")
        calls = [client.call(method, b"") for _ in range(3)]
        await served.until(messages_waiting=len(calls))
        await client.answer_to("/grpc.reflection.v1.ServerReflection/Nothing")
        assert served.metric("calls_in_flight") == len(calls)
        advance(PATIENCE)
        if method == STREAM:
            await until(lambda: failed(served, method, "SLOW_READER") == len(calls))
            advance(PATIENCE)
        ended: dict[int, Frame] = {}
        while len(ended) < len(calls):
            frame = await client.read()
            if frame.kind == Kind.HEADERS and frame.ends_its_stream:
                ended[frame.stream] = frame
        assert sorted(ended) == calls
        assert ended_with(grpc.StatusCode.CANCELLED, [ended[calls[0]]])
        await served.until(calls_in_flight=0)
        assert served.metric("calls_dropped_total", grpc_method=method[1:]) == len(calls)
        assert served.metric("messages_waiting") == 0


async def test_replies_that_nobody_reads_are_refused_on_their_connection_alone(
    serve: Serve, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MAX_UNSENT", 3500)
    monkeypatch.setattr(waiting, "MAX_UNSENT_OF_ONE", 1500)
    upstream.play(page(json.dumps([{"name": "x" * 990}])))
    served = await serve()
    async with peer(served.address, NOTHING_IS_TAKEN) as client:
        calls = [client.call(LIST, b"") for _ in range(10)]
        await until(lambda: failed(served, LIST, "SLOW_READER") == 6)
        await served.until(calls_in_flight=4)
        assert served.metric("messages_waiting") == 4
        assert 3500 < served.metric("messages_waiting_bytes") < 4500
        reply = await served.stub.ListRepos(repos_pb2.ListReposRequest())
        assert len(reply.repos) == 1
        for call in calls:
            client.grow(call, WHOLE_WINDOW)
        await served.until(messages_waiting=0)


async def test_who_reads_slowly_but_reads_is_not_ended(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance
) -> None:
    upstream.play((listing(40),))
    seen = {0.0}
    served = await serve()
    async with peer(served.address, NOTHING_IS_TAKEN) as client:
        stream = client.call(STREAM, repos_pb2.StreamReposRequest(page_size=11).SerializeToString())
        for _ in range(4):  # no two messages are of one size
            await until(lambda: served.metric("messages_waiting_bytes") not in seen)
            size = served.metric("messages_waiting_bytes")
            seen.add(size)
            advance(PATIENCE / 2)
            await client.ping()
            assert failed(served, STREAM, "SLOW_READER") == 0
            client.grow(stream, int(size))
        assert ended_with(grpc.StatusCode.OK, await client.frames_of(stream))


@METHODS
async def test_a_drain_does_not_wait_for_readers_that_stand_still(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance, method: str
) -> None:
    upstream.play(page('[{"name":"a"}]'))
    served = await serve(drain_grace="1000h")
    async with peer(served.address, NOTHING_IS_TAKEN) as client:
        client.call(method, b"")
        await served.until(messages_waiting=1)
        advance(STANDS_STILL + PATIENCE / 9)
        await served.drain()


async def test_who_watches_health_and_takes_nothing_holds_up_neither_others_nor_the_drain(
    serve: Serve, advance: Advance
) -> None:
    served = await serve(drain_grace="1000h")
    async with peer(served.address, NOTHING_IS_TAKEN) as client:
        await client.first_of(client.call(WATCH, b""))
        watch = served.health.Watch(HealthCheckRequest())
        assert (await watch.read()).status == HealthCheckResponse.SERVING
        await served.until(messages_waiting=1)  # else this watch ends with that message, and has no other
        leaving = asyncio.create_task(served.drain())
        assert (await watch.read()).status == HealthCheckResponse.NOT_SERVING
        await until(lambda: failed(served, WATCH, "GATEWAY_DRAINING") == 2)
        advance(STANDS_STILL + PATIENCE / 9)
        await leaving


async def test_the_time_in_which_the_gateway_stood_still_is_not_a_readers(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "LATE", 0.5)
    upstream.play((listing(10),))
    served = await serve()
    async with peer(served.address, NOTHING_IS_TAKEN) as client:
        stream = client.call(STREAM, REQUEST.SerializeToString())
        await served.until(messages_waiting=1)
        advance(2 * PATIENCE)
        await client.ping()
        client.grow(stream, WHOLE_WINDOW)
        assert ended_with(grpc.StatusCode.OK, await client.frames_of(stream))


# Requests that do not come


@METHODS
async def test_a_call_without_a_request_is_answered_at_once(
    serve: Serve, upstream: ScriptedUpstream, method: str
) -> None:
    served = await serve()
    async with peer(served.address) as client:
        call = client.begin(method)
        client.send(call, end=True)
        assert ended_with(grpc.StatusCode.INTERNAL, await client.frames_of(call))
        assert failed(served, method, "REQUEST_MISSING") == 1
        assert upstream.requests == []


@METHODS
async def test_a_call_whose_request_does_not_come_is_in_flight_and_is_ended(
    serve: Serve, advance: Advance, method: str
) -> None:
    served = await serve()
    async with peer(served.address) as client:
        call = client.begin(method)
        await served.until(calls_in_flight=1)
        advance(PATIENCE)
        assert ended_with(grpc.StatusCode.UNAVAILABLE, await client.frames_of(call))
        assert failed(served, method, "REQUEST_TIMEOUT") == 1
        await served.until(calls_in_flight=0)


# Pages ahead


async def test_for_who_reads_nothing_no_page_is_fetched_ahead(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play((listing(1000),))
    served = await serve()
    async with peer(served.address, NOTHING_IS_TAKEN) as client:
        streams = [client.call(STREAM, REQUEST.SerializeToString()) for _ in range(3)]
        await client.first_of(*streams)
        for _ in range(20):  # other calls go on meanwhile, and give the streams every chance to go further
            await served.stub.ListRepos(repos_pb2.ListReposRequest(offset=999, limit=1))
        assert [offset for offset in upstream.offsets if offset != 999] == [0] * len(streams)
        assert served.metric("prefetched_bytes") == 0


@pytest.mark.parametrize(("memory", "ahead"), [("0", 0), ("10KiB", 1), ("1MiB", 4)])
async def test_pages_are_fetched_ahead_as_far_as_the_memory_for_all_of_them_reaches(
    serve: Serve, upstream: ScriptedUpstream, memory: str, ahead: int
) -> None:
    """A page has some 9 kB."""
    whole = listing(1000, description="x" * 850)
    upstream.play((whole,), (Act.STALL,))
    served = await serve(prefetch_bytes=memory)
    call = served.stub.StreamRepos(REQUEST)
    await call.read()
    # With nothing left, the page that is needed next is fetched all the same.
    await upstream.all_arrived(1 + max(ahead, 1))
    assert upstream.offsets == list(range(0, 10 * (1 + max(ahead, 1)), 10))
    assert 8_000 * ahead <= served.metric("prefetched_bytes") <= 10_000 * ahead
    upstream.play((whole,))
    assert sum([len(message.repos) async for message in served.stub.StreamRepos(REQUEST)]) == 1000
    call.cancel()
    await upstream.all_hung_up(max(ahead, 1))
    await served.until(prefetched_bytes=0)


async def test_large_pages_of_streams_are_converted_one_after_another(
    serve: Serve, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.play((listing(1000),))
    under_way: list[int] = [0]
    convert = Conversions._run_steps

    async def convert_and_count(*given: Any) -> Any:
        under_way.append(under_way[-1] + 1)
        for _ in range(10):
            await asyncio.sleep(0)  # whoever may begin meanwhile does
        converted = await convert(*given)
        under_way.append(under_way[-1] - 1)
        return converted

    monkeypatch.setattr(Conversions, "_run_steps", convert_and_count)
    monkeypatch.setattr(converting, "LARGE", 100)

    served = await serve()

    async def count() -> int:
        request = repos_pb2.StreamReposRequest(page_size=50)
        return sum([len(message.repos) async for message in served.stub.StreamRepos(request)])

    assert await asyncio.gather(*(count() for _ in range(5))) == [1000] * 5
    await served.drain()
    assert max(under_way) == 1


def test_memory_that_is_given_back_is_there_for_others_once() -> None:
    budget = ByteBudget(10)
    share = budget.take(6)
    assert share
    assert budget.take(5) is None
    share.resize(4)
    other = budget.take(6)
    assert other
    assert (budget.used, budget.take(1)) == (10, None)
    share.give_back()
    share.give_back()
    share.resize(100)
    assert budget.used == 6


# Messages


class Row(bytes):
    """A row that tells when nobody has it any more."""

    kept = 0

    def __init__(self, _: bytes) -> None:
        Row.kept += 1

    def __del__(self) -> None:
        Row.kept -= 1


def page_of(count: int, size: int) -> RowPage:
    """Return a page with rows of so many bytes."""
    row = repos_pb2.StreamReposResponse(repos=[repos_pb2.Repo(description="x" * (size - 6))]).SerializeToString()
    assert abs(len(row) - size) < 3
    identities = [("n", str(number), "", "") for number in range(count)]
    return RowPage(Page(0, count), [Row(row) for _ in range(count)], identities, None, claimed=True)


def test_the_first_message_is_small_and_each_one_that_is_taken_lets_the_next_be_twice_as_large() -> None:
    sizes = [len(message) for message in StreamAssembler(Page(0, 1000)).take(page_of(10_000, 500))]
    limits = [FIRST_MESSAGE_BYTES * 2**number for number in range(5)]
    assert limits[-1] == MAX_MESSAGE_BYTES
    for size, limit in zip(sizes, [*limits, limits[-1]], strict=False):
        assert limit - 600 < size <= limit
    assert len(sizes) > len(limits)


def test_of_rows_that_are_in_a_message_nothing_is_kept() -> None:
    rows = page_of(1000, 1000)
    messages = StreamAssembler(Page(0, 1000)).take(rows)
    del rows
    assert Row.kept == 1000
    sent = 0
    for message in messages:
        sent += len(repos_pb2.StreamReposResponse.FromString(message).repos)
        assert Row.kept == 1000 - sent
    assert sent == 1000
