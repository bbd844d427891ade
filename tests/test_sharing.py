"""Identical calls share one upstream request: which calls are identical, and what each of those who share is told."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import count
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from conftest import Serve, Served
from failures import failure_of
from gateway.swr.v1 import repos_pb2
from patience import until
from scripted_upstream import Act, ScriptedUpstream, answer, page

REQUEST = repos_pb2.ListReposRequest()
PAGE = page('[{"name":"a"}]')
REPLY = repos_pb2.ListReposResponse(repos=[repos_pb2.Repo(name="a")])

Metadata = tuple[tuple[str, str], ...]


def wanted(limit: int | None = None, **clauses: Any) -> repos_pb2.ListReposRequest:
    offset = None if limit is None else 0
    return repos_pb2.ListReposRequest(filter=repos_pb2.RepoFilter(**clauses), offset=offset, limit=limit)


@pytest.fixture
def serve(serve: Serve) -> Serve:
    """Start a gateway that lets calls share requests."""
    return partial(serve, coalesce=True)


def joined(served: Served) -> float:
    """Return how many calls have joined the request of another."""
    return served.metric("coalesced_calls_total")


async def until_joined(served: Served, many: int) -> None:
    await until(lambda: joined(served) == many)


@pytest.fixture
def release(upstream: ScriptedUpstream) -> asyncio.Event:
    """Let the upstream answer a page, once this is set."""
    release = asyncio.Event()
    upstream.play((release, PAGE))
    return release


async def test_two_hundred_identical_calls_are_one_request(
    serve: Serve, upstream: ScriptedUpstream, release: asyncio.Event
) -> None:
    served = await serve()
    calls = [served.stub.ListRepos(wanted(10, namespace="n", name="x")) for _ in range(200)]
    await until_joined(served, 199)
    release.set()
    assert await asyncio.gather(*calls) == [REPLY] * 200
    assert len(upstream.requests) == 1
    await served.stub.ListRepos(wanted(10, namespace="n", name="x"))
    assert (len(upstream.requests), joined(served)) == (2, 199)


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
    serve: Serve,
    upstream: ScriptedUpstream,
    release: asyncio.Event,
    auth: str,
    request_: repos_pb2.ListReposRequest,
    metadata: Metadata,
) -> None:
    served = await serve(auth=auth, token="own" if auth == "token" else None)
    calls = [served.stub.ListRepos(REQUEST, metadata=A), served.stub.ListRepos(request_, metadata=metadata)]
    await until_joined(served, 1)
    release.set()
    assert await asyncio.gather(*calls) == [REPLY] * 2
    await served.drain()
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
    serve: Serve,
    upstream: ScriptedUpstream,
    release: asyncio.Event,
    given: dict[str, Any],
    request_: repos_pb2.ListReposRequest,
    metadata: Metadata,
    first: bool,
) -> None:
    served = await serve(auth="passthrough", **given)
    pairs = [(request_, metadata), (REQUEST, A)] if first else [(REQUEST, A), (request_, metadata)]
    calls = [served.stub.ListRepos(request, metadata=metadata) for request, metadata in pairs]
    await upstream.all_arrived(2)
    release.set()
    assert await asyncio.gather(*calls) == [REPLY] * 2
    assert joined(served) == 0


async def test_tokens_are_never_mixed(serve: Serve, upstream: ScriptedUpstream) -> None:
    release = asyncio.Event()
    upstream.play((release, lambda request: page(f'[{{"name":"of-{request.headers["x-auth-token"]}"}}]')))
    tokens = [f"t{number % 10}" for number in range(50)]
    served = await serve(auth="passthrough")
    calls = [served.stub.ListRepos(REQUEST, metadata=(("x-auth-token", token),)) for token in tokens]
    await until_joined(served, 40)
    release.set()
    replies = await asyncio.gather(*calls)
    await served.drain()
    assert [reply.repos[0].name for reply in replies] == [f"of-{token}" for token in tokens]
    assert len(upstream.requests) == 10


async def test_who_has_no_token_does_not_share_with_who_has(
    serve: Serve, upstream: ScriptedUpstream, release: asyncio.Event
) -> None:
    stub = (await serve(auth="passthrough")).stub
    call = stub.ListRepos(REQUEST, metadata=A)
    await upstream.all_arrived(1)
    assert (await failure_of(stub.ListRepos(REQUEST))).reason == "CREDENTIAL_MISSING"
    release.set()
    assert await call == REPLY


async def test_streams_do_not_share(serve: Serve, upstream: ScriptedUpstream, release: asyncio.Event) -> None:
    served = await serve()
    streams = [served.stub.StreamRepos(repos_pb2.StreamReposRequest(page_size=10)) for _ in range(2)]
    call = served.stub.ListRepos(wanted(10))
    await upstream.all_arrived(3)
    release.set()
    assert [len([message async for message in stream]) for stream in streams] == [1, 1]
    assert await call == REPLY
    assert joined(served) == 0


async def test_who_began_it_cancels_and_the_others_get_their_reply_from_the_same_request(
    serve: Serve, upstream: ScriptedUpstream, release: asyncio.Event
) -> None:
    served = await serve()
    first = served.stub.ListRepos(REQUEST)
    await upstream.all_arrived(1)
    others = [served.stub.ListRepos(REQUEST) for _ in range(5)]
    await until_joined(served, 5)
    first.cancel()
    others.append(served.stub.ListRepos(REQUEST))
    await until_joined(served, 6)
    release.set()
    assert await asyncio.gather(*others) == [REPLY] * 6
    await served.drain()
    assert (len(upstream.requests), upstream.hang_ups) == (1, 0)


async def test_when_all_have_cancelled_the_upstream_is_hung_up_on_and_the_next_one_asks_anew(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    upstream.play((Act.STALL,), PAGE)
    served = await serve()
    calls = [served.stub.ListRepos(REQUEST) for _ in range(5)]
    await until_joined(served, 4)
    await upstream.all_arrived(1)
    for call in calls:
        call.cancel()
    await upstream.all_hung_up(1)
    assert await served.stub.ListRepos(REQUEST) == REPLY
    await served.drain()
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("short_first", [True, False], ids=["who began it", "who joined"])
async def test_a_short_deadline_ends_one_call_and_not_the_request(
    serve: Serve, upstream: ScriptedUpstream, release: asyncio.Event, short_first: bool
) -> None:
    served = await serve()
    times = (0.5, None) if short_first else (None, 0.5)
    for again in count():  # on a busy machine the short time may be over before they share
        calls = [served.stub.ListRepos(wanted(name=f"n-{again}"), timeout=time) for time in times]
        short, long = calls if short_first else reversed(calls)
        assert (await failure_of(short)).code is grpc.StatusCode.DEADLINE_EXCEEDED
        if joined(served):
            break
        long.cancel()
    release.set()
    assert await long == REPLY
    await served.drain()
    assert [request.clause("name") for request in upstream.requests].count(f"n-{again}") == 1


async def test_each_caller_has_its_own_request_id_and_the_upstream_that_of_one(
    serve: Serve, upstream: ScriptedUpstream, release: asyncio.Event
) -> None:
    ids = {f"id-{number}" for number in range(20)}
    served = await serve()
    calls = {name: served.stub.ListRepos(REQUEST, metadata=(("x-request-id", name),)) for name in ids}
    await until_joined(served, 19)
    release.set()
    for name, call in calls.items():
        assert await call == REPLY
        assert list(await call.trailing_metadata()) == [("x-request-id", name)]
    await served.drain()
    assert upstream.requests[0].headers["x-request-id"] in ids


ERRORS: list[Any] = [
    pytest.param((answer(403, '{"error_code":"APIGW.0308","error_msg":"slow down"}'),), id="an answer"),
    pytest.param((answer(503, "", {"Retry-After": "7"}),), id="with a time to wait"),
    pytest.param((Act.CLOSE,), id="a broken connection"),
    pytest.param((page("no JSON"),), id="no page"),
]


@pytest.mark.parametrize("script", ERRORS)
async def test_an_error_reaches_all_alike_each_with_its_own_request_id(
    serve: Serve, upstream: ScriptedUpstream, script: tuple[Any, ...]
) -> None:
    release = asyncio.Event()
    upstream.play((release, *script))
    ids = [f"id-{number}" for number in range(20)]
    served = await serve()
    calls = [served.stub.ListRepos(REQUEST, metadata=(("x-request-id", name),)) for name in ids]
    await until_joined(served, 19)
    release.set()
    failures = [await failure_of(call) for call in calls]
    await served.drain()
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


async def test_who_joins_while_the_upstream_is_left_alone_is_told_so_at_once(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    answered = asyncio.Event()
    busy = answer(503, '{"errorCode":"SVCSTG.SWR.5030001","errorMessage":"come later"}', {"Retry-After": "1800"})
    upstream.play((answered, busy), PAGE)
    served = await serve(retries=2)
    patient = served.stub.ListRepos(REQUEST)
    early = served.stub.ListRepos(REQUEST, timeout=1000)
    await until_joined(served, 1)
    answered.set()
    assert (await failure_of(early)).reason == "UPSTREAM_UNAVAILABLE"
    late = await failure_of(served.stub.ListRepos(REQUEST, timeout=1000))
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
    await served.drain()
    assert len(upstream.requests) == 1


async def test_a_drain_ends_all_who_share_with_a_status(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play((Act.STALL,))
    served = await serve(drain_grace="100ms")
    calls = [served.stub.ListRepos(REQUEST) for _ in range(20)]
    await until_joined(served, 19)
    await served.drain()
    failures = [await failure_of(call) for call in calls]
    assert {failure.code for failure in failures} <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    await upstream.all_hung_up(1)
    assert len(upstream.requests) == 1
