"""Identical calls share one upstream request: which calls are identical, and what each of those who share is told."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from conftest import Connect
from failures import failure_of
from gateway.server.gateway import Gateway
from gateway.settings.model import Settings
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from patience import PATIENT
from scripted_upstream import Act, ScriptedUpstream, answer, page

REQUEST = repos_pb2.ListReposRequest()
PAGE = page('[{"name":"a"}]')
REPLY = repos_pb2.ListReposResponse(repos=[repos_pb2.Repo(name="a")])

Metadata = tuple[tuple[str, str], ...]


def wanted(limit: int | None = None, **clauses: Any) -> repos_pb2.ListReposRequest:
    offset = None if limit is None else 0
    return repos_pb2.ListReposRequest(filter=repos_pb2.RepoFilter(**clauses), offset=offset, limit=limit)


class Sharing:
    """A gateway that lets calls share, and a stub of it."""

    def __init__(self, gateway: Gateway, channel: grpc.aio.Channel) -> None:
        self.stub = RepoServiceStub(channel)
        self._url = f"http://{gateway.admin_address}/metrics"

    async def until_joined(self, many: int) -> None:
        """Wait until so many calls have joined the request of another."""
        while await self.joined() != many:
            pass

    async def joined(self) -> int:
        shown = (await asyncio.to_thread(self._ask)).splitlines()
        (line,) = (line for line in shown if line.startswith("swr_gateway_coalesced_calls_total "))
        return int(float(line.split()[1]))

    def _ask(self) -> str:
        with urllib.request.urlopen(self._url) as response:
            return str(response.read().decode())


def settings(upstream: ScriptedUpstream, **given: Any) -> Settings:
    defaults = {"auth": "none", "listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0", "drain_grace": "1s"}
    return Settings(upstream_url=upstream.url, **{**defaults, **PATIENT, "retries": 0, **given})


@asynccontextmanager
async def sharing(upstream: ScriptedUpstream, **given: Any) -> AsyncIterator[Sharing]:
    async with (
        Gateway(settings(upstream, **given)) as gateway,
        grpc.aio.insecure_channel(gateway.addresses[0]) as channel,
    ):
        yield Sharing(gateway, channel)


@pytest.fixture
def release(upstream: ScriptedUpstream) -> asyncio.Event:
    """Let the upstream answer a page, once this is set."""
    release = asyncio.Event()
    upstream.play((release, PAGE))
    return release


async def test_two_hundred_identical_calls_are_one_request(upstream: ScriptedUpstream, release: asyncio.Event) -> None:
    async with sharing(upstream) as gateway:
        calls = [gateway.stub.ListRepos(wanted(10, namespace="n", name="x")) for _ in range(200)]
        await gateway.until_joined(199)
        release.set()
        assert await asyncio.gather(*calls) == [REPLY] * 200
        assert len(upstream.requests) == 1
        await gateway.stub.ListRepos(wanted(10, namespace="n", name="x"))
        assert (len(upstream.requests), await gateway.joined()) == (2, 199)


NOTHING: Metadata = ()
A, B = (("x-auth-token", "a"),), (("x-auth-token", "b"),)


@pytest.mark.parametrize(
    ("auth", "request_", "metadata"),
    [
        pytest.param("none", REQUEST, NOTHING, id="nothing at all"),
        pytest.param("none", wanted(center=repos_pb2.CENTER_SELF), NOTHING, id="a default that is spelled out"),
        pytest.param("none", REQUEST, (("x-request-id", "b"),), id="another request id"),
        pytest.param("none", REQUEST, B, id="a token that is not used"),
        pytest.param("token", REQUEST, B, id="the gateway's own token"),
        pytest.param("none", REQUEST, (("cache-control", "max-age=0"),), id="another cache control"),
        pytest.param("passthrough", REQUEST, (*A, ("x-request-id", "b")), id="the same token"),
    ],
)
async def test_calls_are_identical_but_for(
    upstream: ScriptedUpstream,
    release: asyncio.Event,
    auth: str,
    request_: repos_pb2.ListReposRequest,
    metadata: Metadata,
) -> None:
    async with sharing(upstream, auth=auth, token="own" if auth == "token" else None) as gateway:
        calls = [gateway.stub.ListRepos(REQUEST, metadata=A), gateway.stub.ListRepos(request_, metadata=metadata)]
        await gateway.until_joined(1)
        release.set()
        assert await asyncio.gather(*calls) == [REPLY] * 2
    assert len(upstream.requests) == 1


OTHERS: list[Any] = [
    pytest.param({}, wanted(name="x"), A, id="another name"),
    pytest.param({}, wanted(namespace="x"), A, id="another namespace"),
    pytest.param({}, wanted(category="linux"), A, id="another category"),
    pytest.param({}, wanted(center=repos_pb2.CENTER_THIRD_PARTY), A, id="another center"),
    pytest.param({}, wanted(100), A, id="another page"),
    pytest.param({}, REQUEST, B, id="another token"),
    pytest.param({}, REQUEST, (*A, ("cache-control", "no-cache")), id="no-cache"),
    pytest.param({}, REQUEST, (*A, ("cache-control", "max-age=0, No-Cache")), id="no-cache among others"),
    pytest.param({"coalesce": False}, REQUEST, A, id="switched off"),
]


@pytest.mark.parametrize(("given", "request_", "metadata"), OTHERS)
@pytest.mark.parametrize("first", [True, False], ids=["and goes first", "and goes second"])
async def test_a_call_is_not_identical_that_has(
    upstream: ScriptedUpstream,
    release: asyncio.Event,
    given: dict[str, Any],
    request_: repos_pb2.ListReposRequest,
    metadata: Metadata,
    first: bool,
) -> None:
    async with sharing(upstream, auth="passthrough", **given) as gateway:
        pairs = [(request_, metadata), (REQUEST, A)] if first else [(REQUEST, A), (request_, metadata)]
        calls = [gateway.stub.ListRepos(request, metadata=metadata) for request, metadata in pairs]
        await upstream.all_arrived(2)
        release.set()
        assert await asyncio.gather(*calls) == [REPLY] * 2
        assert await gateway.joined() == 0


async def test_tokens_are_never_mixed(upstream: ScriptedUpstream) -> None:
    release = asyncio.Event()
    upstream.play((release, lambda request: page(f'[{{"name":"of-{request.headers["x-auth-token"]}"}}]')))
    tokens = [f"t{number % 10}" for number in range(50)]
    async with sharing(upstream, auth="passthrough") as gateway:
        calls = [gateway.stub.ListRepos(REQUEST, metadata=(("x-auth-token", token),)) for token in tokens]
        await gateway.until_joined(40)
        release.set()
        replies = await asyncio.gather(*calls)
    assert [reply.repos[0].name for reply in replies] == [f"of-{token}" for token in tokens]
    assert len(upstream.requests) == 10


async def test_who_has_no_token_does_not_share_with_who_has(
    connect: Connect, upstream: ScriptedUpstream, release: asyncio.Event
) -> None:
    stub = RepoServiceStub(await connect(upstream.url, auth="passthrough", coalesce=True))
    call = stub.ListRepos(REQUEST, metadata=A)
    await upstream.arrived.wait()
    assert (await failure_of(stub.ListRepos(REQUEST))).reason == "CREDENTIAL_MISSING"
    release.set()
    assert await call == REPLY


async def test_streams_do_not_share(upstream: ScriptedUpstream, release: asyncio.Event) -> None:
    async with sharing(upstream) as gateway:
        streams = [gateway.stub.StreamRepos(repos_pb2.StreamReposRequest(page_size=10)) for _ in range(2)]
        call = gateway.stub.ListRepos(wanted(10))
        await upstream.all_arrived(3)
        release.set()
        assert [len([message async for message in stream]) for stream in streams] == [1, 1]
        assert await call == REPLY
        assert await gateway.joined() == 0


async def test_who_began_it_cancels_and_the_others_get_their_reply_from_the_same_request(
    upstream: ScriptedUpstream, release: asyncio.Event
) -> None:
    async with sharing(upstream) as gateway:
        first = gateway.stub.ListRepos(REQUEST)
        await upstream.arrived.wait()
        others = [gateway.stub.ListRepos(REQUEST) for _ in range(5)]
        await gateway.until_joined(5)
        first.cancel()
        others.append(gateway.stub.ListRepos(REQUEST))
        await gateway.until_joined(6)
        release.set()
        assert await asyncio.gather(*others) == [REPLY] * 6
    assert (len(upstream.requests), upstream.hang_ups) == (1, 0)


async def test_when_all_have_cancelled_the_upstream_is_hung_up_on_and_the_next_one_asks_anew(
    upstream: ScriptedUpstream,
) -> None:
    upstream.play((Act.STALL,), PAGE)
    async with sharing(upstream) as gateway:
        calls = [gateway.stub.ListRepos(REQUEST) for _ in range(5)]
        await gateway.until_joined(4)
        await upstream.arrived.wait()
        for call in calls:
            call.cancel()
        await upstream.hung_up.wait()
        assert await gateway.stub.ListRepos(REQUEST) == REPLY
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("short_first", [True, False], ids=["who began it", "who joined"])
async def test_a_short_deadline_ends_one_call_and_not_the_request(
    upstream: ScriptedUpstream, release: asyncio.Event, short_first: bool
) -> None:
    async with sharing(upstream) as gateway:
        times = (0.5, None) if short_first else (None, 0.5)
        for again in count():  # on a busy machine the short time may be over before they share
            calls = [gateway.stub.ListRepos(wanted(name=f"n-{again}"), timeout=time) for time in times]
            short, long = calls if short_first else reversed(calls)
            assert (await failure_of(short)).code is grpc.StatusCode.DEADLINE_EXCEEDED
            if await gateway.joined():
                break
            long.cancel()
        release.set()
        assert await long == REPLY
    assert [request.clause("name") for request in upstream.requests].count(f"n-{again}") == 1


async def test_each_caller_has_its_own_request_id_and_the_upstream_that_of_one(
    upstream: ScriptedUpstream, release: asyncio.Event
) -> None:
    ids = {f"id-{number}" for number in range(20)}
    async with sharing(upstream) as gateway:
        calls = {name: gateway.stub.ListRepos(REQUEST, metadata=(("x-request-id", name),)) for name in ids}
        await gateway.until_joined(19)
        release.set()
        for name, call in calls.items():
            assert await call == REPLY
            assert list(await call.trailing_metadata()) == [("x-request-id", name)]
    assert upstream.requests[0].headers["x-request-id"] in ids


ERRORS: list[Any] = [
    pytest.param((answer(403, '{"error_code":"APIGW.0308","error_msg":"slow down"}'),), id="an answer"),
    pytest.param((answer(503, "", {"Retry-After": "7"}),), id="with a time to wait"),
    pytest.param((Act.CLOSE,), id="a broken connection"),
    pytest.param((page("no JSON"),), id="no page"),
]


@pytest.mark.parametrize("script", ERRORS)
async def test_an_error_reaches_all_alike_each_with_its_own_request_id(
    upstream: ScriptedUpstream, script: tuple[Any, ...]
) -> None:
    release = asyncio.Event()
    upstream.play((release, *script))
    ids = [f"id-{number}" for number in range(20)]
    async with sharing(upstream) as gateway:
        calls = [gateway.stub.ListRepos(REQUEST, metadata=(("x-request-id", name),)) for name in ids]
        await gateway.until_joined(19)
        release.set()
        failures = [await failure_of(call) for call in calls]
    told = []
    for name, failure in zip(ids, failures, strict=True):
        info = failure.details.pop("RequestInfo")
        assert isinstance(info, error_details_pb2.RequestInfo)
        assert (info.request_id, failure.trailers["x-request-id"]) == (name, name)
        told.append(
            (failure.code, failure.message, sorted((kind, str(said)) for kind, said in failure.details.items()))
        )
    assert all(one == told[0] for one in told)
    assert failures[0].info.metadata["attempts"] == "1"
    assert len(upstream.requests) == 1


async def test_who_joins_while_the_upstream_is_left_alone_is_told_so_at_once(upstream: ScriptedUpstream) -> None:
    answered = asyncio.Event()
    busy = answer(503, '{"errorCode":"SVCSTG.SWR.5030001","errorMessage":"come later"}', {"Retry-After": "1800"})
    upstream.play((answered, busy), PAGE)
    async with sharing(upstream, retries=2) as gateway:
        patient = gateway.stub.ListRepos(REQUEST)
        early = gateway.stub.ListRepos(REQUEST, timeout=1000)
        await gateway.until_joined(1)
        answered.set()
        assert (await failure_of(early)).reason == "UPSTREAM_UNAVAILABLE"
        late = await failure_of(gateway.stub.ListRepos(REQUEST, timeout=1000))
        assert (late.code, late.reason, late.message) == (
            grpc.StatusCode.UNAVAILABLE,
            "UPSTREAM_UNAVAILABLE",
            "come later",
        )
        retry = late.details["RetryInfo"]
        assert isinstance(retry, error_details_pb2.RetryInfo)
        assert retry.retry_delay.seconds == 1800
        assert late.info.metadata["attempts"] == "1"
        assert not patient.done()
        patient.cancel()
    assert len(upstream.requests) == 1


async def test_a_drain_ends_all_who_share_with_a_status(upstream: ScriptedUpstream) -> None:
    upstream.play((Act.STALL,))
    async with AsyncExitStack() as stack:
        async with Gateway(settings(upstream, drain_grace="100ms")) as gateway:
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(gateway.addresses[0]))
            shared = Sharing(gateway, channel)
            calls = [shared.stub.ListRepos(REQUEST) for _ in range(20)]
            await shared.until_joined(19)
        failures = [await failure_of(call) for call in calls]
    assert {failure.code for failure in failures} <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    await upstream.hung_up.wait()
    assert len(upstream.requests) == 1
