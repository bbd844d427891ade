"""Readers that stand still: what is held for them is little, and not for ever. And callers who send no request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest

from gateway.core.filter import Page
from gateway.core.pages import RowPage
from gateway.core.stream import FIRST_MESSAGE_BYTES, MAX_MESSAGE_BYTES, StreamAssembler
from gateway.listing import conversions as converting
from gateway.listing.conversions import Conversions
from gateway.reliability.byte_budget import ByteBudget
from gateway.server import waiting
from gateway.server.gateway import Gateway
from gateway.server.interceptor import STANDS_STILL
from gateway.settings.model import Settings
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from http2 import WHOLE_WINDOW, Frame, Kind, peer
from patience import PATIENT, Advance, until
from scripted_upstream import Act, Request, ScriptedUpstream, page

LIST, STREAM = "/gateway.swr.v1.RepoService/ListRepos", "/gateway.swr.v1.RepoService/StreamRepos"
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


def offsets(upstream: ScriptedUpstream) -> list[int]:
    return [int(request.clause("offset")) for request in upstream.requests]


def settings(upstream: ScriptedUpstream, **more: object) -> Settings:
    plain = {"auth": "none", "listen": "127.0.0.1:0", "admin_listen": None, "upstream_url": upstream.url}
    return Settings.model_validate(plain | {"drain_grace": "1s", "retries": 0, "coalesce": False} | PATIENT | more)


def gauge(gateway: Gateway, name: str) -> int:
    value = gateway._metrics.registry.get_sample_value(f"swr_gateway_{name}")
    assert value is not None
    return int(value)


def counted(gateway: Gateway, name: str, **labels: str) -> float:
    return gateway._metrics.registry.get_sample_value(f"swr_gateway_{name}_total", labels) or 0.0


def failed(gateway: Gateway, method: str, reason: str) -> float:
    return counted(gateway, "call_failures", grpc_method=method[1:], reason=reason)


def ended_with(code: grpc.StatusCode, frames: list[Frame]) -> bool:
    """Tell whether the first call of a connection has ended with a status: no table has its spelling yet."""
    number = str(code.value[0]).encode()
    return b"\x0bgrpc-status" + bytes((len(number),)) + number in b"".join(frame.payload for frame in frames)


# Time


async def test_a_stream_whose_reader_stands_still_is_ended_and_says_why(
    upstream: ScriptedUpstream, advance: Advance
) -> None:
    upstream.play((listing(1000),))
    async with Gateway(settings(upstream)) as gateway, peer(gateway.addresses[0], NOTHING_IS_TAKEN) as client:
        stream = client.call(STREAM, REQUEST.SerializeToString())
        await until(lambda: gauge(gateway, "messages_waiting") == 1)
        assert (gauge(gateway, "streams_in_flight"), gauge(gateway, "calls_in_flight")) == (1, 1)
        assert 0 < gauge(gateway, "messages_waiting_bytes") <= FIRST_MESSAGE_BYTES + 5
        advance(PATIENCE)
        await until(lambda: failed(gateway, STREAM, "SLOW_READER") == 1)
        client.grow(stream, WHOLE_WINDOW)
        frames = await client.frames_of(stream)
        data = b"".join(frame.payload for frame in frames if frame.kind == Kind.DATA)
        assert repos_pb2.StreamReposResponse.FromString(data[5:]).next_offset == 10
        assert ended_with(grpc.StatusCode.ABORTED, frames)
        await until(lambda: gauge(gateway, "calls_in_flight") == 0)
        assert (gauge(gateway, "streams_in_flight"), gauge(gateway, "messages_waiting")) == (0, 0)
        assert counted(gateway, "calls_dropped", grpc_method=STREAM[1:]) == 0


@METHODS
async def test_a_call_whose_reader_takes_not_even_the_status_is_dropped(
    upstream: ScriptedUpstream, advance: Advance, method: str
) -> None:
    upstream.play(page('[{"name":"a"}]', {"Content-Range": "0-1/1"}))
    async with Gateway(settings(upstream)) as gateway, peer(gateway.addresses[0], NOTHING_IS_TAKEN) as client:
        # Of all calls gRPC itself holds the first one and the latest one, whatever becomes of them.
        await client.answer_to("/grpc.reflection.v1.ServerReflection/Nothing")
        calls = [client.call(method, b"") for _ in range(3)]
        await until(lambda: gauge(gateway, "messages_waiting") == len(calls))
        await client.answer_to("/grpc.reflection.v1.ServerReflection/Nothing")
        assert gauge(gateway, "calls_in_flight") == len(calls)
        advance(PATIENCE)
        if method == STREAM:
            await until(lambda: failed(gateway, method, "SLOW_READER") == len(calls))
            advance(PATIENCE)
        ended: dict[int, Frame] = {}
        while len(ended) < len(calls):
            frame = await client.read()
            if frame.kind == Kind.HEADERS and frame.ends_its_stream:
                ended[frame.stream] = frame
        assert sorted(ended) == calls
        assert ended_with(grpc.StatusCode.CANCELLED, [ended[calls[0]]])
        await until(lambda: gauge(gateway, "calls_in_flight") == 0)
        assert counted(gateway, "calls_dropped", grpc_method=method[1:]) == len(calls)
        assert gauge(gateway, "messages_waiting") == 0


async def test_replies_that_nobody_reads_are_refused_on_their_connection_alone(
    upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MAX_UNSENT", 3500)
    monkeypatch.setattr(waiting, "MAX_UNSENT_OF_ONE", 1500)
    upstream.play(page(json.dumps([{"name": "x" * 990}])))
    async with (
        Gateway(settings(upstream)) as gateway,
        peer(gateway.addresses[0], NOTHING_IS_TAKEN) as client,
        grpc.aio.insecure_channel(gateway.addresses[0]) as channel,
    ):
        calls = [client.call(LIST, b"") for _ in range(10)]
        await until(lambda: failed(gateway, LIST, "SLOW_READER") == 6)
        await until(lambda: gauge(gateway, "calls_in_flight") == 4)
        assert gauge(gateway, "messages_waiting") == 4
        assert 3500 < gauge(gateway, "messages_waiting_bytes") < 4500
        reply = await RepoServiceStub(channel).ListRepos(repos_pb2.ListReposRequest())
        assert len(reply.repos) == 1
        for call in calls:
            client.grow(call, WHOLE_WINDOW)
        await until(lambda: gauge(gateway, "messages_waiting") == 0)


async def test_who_reads_slowly_but_reads_is_not_ended(upstream: ScriptedUpstream, advance: Advance) -> None:
    upstream.play((listing(40),))
    seen = {0}
    async with Gateway(settings(upstream)) as gateway, peer(gateway.addresses[0], NOTHING_IS_TAKEN) as client:
        stream = client.call(STREAM, repos_pb2.StreamReposRequest(page_size=11).SerializeToString())
        for _ in range(4):  # no two messages are of one size
            await until(lambda: gauge(gateway, "messages_waiting_bytes") not in seen)
            size = gauge(gateway, "messages_waiting_bytes")
            seen.add(size)
            advance(PATIENCE / 2)
            await client.ping()
            assert failed(gateway, STREAM, "SLOW_READER") == 0
            client.grow(stream, size)
        assert ended_with(grpc.StatusCode.OK, await client.frames_of(stream))


@METHODS
async def test_a_drain_does_not_wait_for_readers_that_stand_still(
    upstream: ScriptedUpstream, advance: Advance, method: str
) -> None:
    upstream.play(page('[{"name":"a"}]'))
    async with AsyncExitStack() as stack, Gateway(settings(upstream, drain_grace="1000h")) as gateway:
        client = await stack.enter_async_context(peer(gateway.addresses[0], NOTHING_IS_TAKEN))
        client.call(method, b"")
        await until(lambda: gauge(gateway, "messages_waiting") == 1)
        advance(STANDS_STILL + PATIENCE / 9)


# Requests that do not come


@METHODS
async def test_a_call_without_a_request_is_answered_at_once(upstream: ScriptedUpstream, method: str) -> None:
    async with Gateway(settings(upstream)) as gateway, peer(gateway.addresses[0]) as client:
        call = client.begin(method)
        client.send(call, end=True)
        assert ended_with(grpc.StatusCode.INTERNAL, await client.frames_of(call))
        assert failed(gateway, method, "REQUEST_MISSING") == 1
        assert upstream.requests == []


@METHODS
async def test_a_call_whose_request_does_not_come_is_in_flight_and_is_ended(
    upstream: ScriptedUpstream, advance: Advance, method: str
) -> None:
    async with Gateway(settings(upstream)) as gateway, peer(gateway.addresses[0]) as client:
        call = client.begin(method)
        await until(lambda: gauge(gateway, "calls_in_flight") == 1)
        advance(PATIENCE)
        assert ended_with(grpc.StatusCode.UNAVAILABLE, await client.frames_of(call))
        assert failed(gateway, method, "REQUEST_TIMEOUT") == 1
        await until(lambda: gauge(gateway, "calls_in_flight") == 0)


# Pages ahead


async def test_for_who_reads_nothing_no_page_is_fetched_ahead(upstream: ScriptedUpstream) -> None:
    upstream.play((listing(1000),))
    async with (
        Gateway(settings(upstream)) as gateway,
        peer(gateway.addresses[0], NOTHING_IS_TAKEN) as client,
        grpc.aio.insecure_channel(gateway.addresses[0]) as channel,
    ):
        streams = [client.call(STREAM, REQUEST.SerializeToString()) for _ in range(3)]
        await client.first_of(*streams)
        for _ in range(20):  # other calls go on meanwhile, and give the streams every chance to go further
            await RepoServiceStub(channel).ListRepos(repos_pb2.ListReposRequest(offset=999, limit=1))
        assert [offset for offset in offsets(upstream) if offset != 999] == [0] * len(streams)
        assert gauge(gateway, "prefetched_bytes") == 0


@pytest.mark.parametrize(("memory", "ahead"), [("0", 0), ("10KiB", 1), ("1MiB", 4)])
async def test_pages_are_fetched_ahead_as_far_as_the_memory_for_all_of_them_reaches(
    upstream: ScriptedUpstream, memory: str, ahead: int
) -> None:
    """A page has some 9 kB."""
    whole = listing(1000, description="x" * 850)
    upstream.play((whole,), (Act.STALL,))
    async with (
        Gateway(settings(upstream, prefetch_bytes=memory)) as gateway,
        grpc.aio.insecure_channel(gateway.addresses[0]) as channel,
    ):
        stub = RepoServiceStub(channel)
        call = stub.StreamRepos(REQUEST)
        await call.read()
        # With nothing left, the page that is needed next is fetched all the same.
        await upstream.all_arrived(1 + max(ahead, 1))
        assert offsets(upstream) == list(range(0, 10 * (1 + max(ahead, 1)), 10))
        assert 8_000 * ahead <= gauge(gateway, "prefetched_bytes") <= 10_000 * ahead
        upstream.play((whole,))
        assert sum([len(message.repos) async for message in stub.StreamRepos(REQUEST)]) == 1000
        call.cancel()
        await upstream.all_hung_up(max(ahead, 1))
        await until(lambda: gauge(gateway, "prefetched_bytes") == 0)


async def test_large_pages_of_streams_are_converted_one_after_another(
    upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
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

    async with (
        Gateway(settings(upstream)) as gateway,
        grpc.aio.insecure_channel(gateway.addresses[0]) as channel,
    ):

        async def count() -> int:
            request = repos_pb2.StreamReposRequest(page_size=50)
            return sum([len(message.repos) async for message in RepoServiceStub(channel).StreamRepos(request)])

        assert await asyncio.gather(*(count() for _ in range(5))) == [1000] * 5
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
