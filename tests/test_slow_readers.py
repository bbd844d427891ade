"""Readers that stand still: what is held for them is little, and not for ever."""

from __future__ import annotations

import grpc
import pytest
from http2 import peer
from test_stream_repos import Listing, collect, named, named_only, names, offsets, request

from gateway.core.convert import RowPage
from gateway.core.filter import Page
from gateway.core.stream import FIRST_MESSAGE_BYTES, MAX_MESSAGE_BYTES, StreamAssembler
from gateway.reliability.byte_budget import ByteBudget
from gateway.server.gateway import Gateway
from gateway.settings.model import Settings
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from patience import PATIENT, until
from scripted_upstream import Act, ScriptedUpstream

LIST, STREAM = "/gateway.swr.v1.RepoService/ListRepos", "/gateway.swr.v1.RepoService/StreamRepos"
NOTHING_IS_TAKEN = 0


def settings(upstream: ScriptedUpstream, **more: object) -> Settings:
    plain = {"auth": "none", "listen": "127.0.0.1:0", "admin_listen": None, "upstream_url": upstream.url}
    return Settings.model_validate(plain | {"drain_grace": "1s", "retries": 0, "coalesce": False} | PATIENT | more)


def gauge(gateway: Gateway, name: str) -> float | None:
    return gateway._metrics.registry.get_sample_value(f"swr_gateway_{name}")


# Pages ahead


async def test_for_who_reads_nothing_no_page_is_fetched_ahead(upstream: ScriptedUpstream) -> None:
    upstream.play((Listing(named(1000)),))
    async with (
        Gateway(settings(upstream)) as gateway,
        peer(gateway.addresses[0], NOTHING_IS_TAKEN) as client,
        grpc.aio.insecure_channel(gateway.addresses[0]) as channel,
    ):
        streams = [client.call(STREAM, request(10).SerializeToString()) for _ in range(3)]
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
    listing = Listing(named(1000, description="x" * 850))
    upstream.play((listing,), (Act.STALL,))
    async with (
        Gateway(settings(upstream, prefetch_bytes=memory)) as gateway,
        grpc.aio.insecure_channel(gateway.addresses[0]) as channel,
    ):
        stub = RepoServiceStub(channel)
        call = stub.StreamRepos(request(10))
        await call.read()
        # With nothing left, the page that is needed next is fetched all the same.
        await upstream.all_arrived(1 + max(ahead, 1))
        assert offsets(upstream) == list(range(0, 10 * (1 + max(ahead, 1)), 10))
        assert 8_000 * ahead <= (gauge(gateway, "prefetched_bytes") or 0) <= 10_000 * ahead
        upstream.play((listing,))
        messages, failure = await collect(stub.StreamRepos(request(10)))
        assert failure is None
        assert len(names(messages)) == 1000
        call.cancel()
        await upstream.all_hung_up(max(ahead, 1))
        await until(lambda: gauge(gateway, "prefetched_bytes") == 0)


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
    identities = [named_only(str(number)) for number in range(count)]
    return RowPage(Page(0, count), [Row(row) for _ in range(count)], identities, None, claimed=True)


def test_the_first_message_is_small_and_each_one_that_is_taken_lets_the_next_be_twice_as_large() -> None:
    sizes = [len(message) for message in StreamAssembler(Page(0, 1000)).take(page_of(10_000, 500))]
    limits = [FIRST_MESSAGE_BYTES * 2**number for number in range(6)]
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
