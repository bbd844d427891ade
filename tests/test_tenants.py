"""Tenants do not pay for each other: circuits, retries and turns of callers with tokens of their own, on sockets."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from conftest import OPERATED, Serve, Served
from failures import failure_of
from gateway.core import circuits
from gateway.core.retry import CommonRetryBudget, RetryBudget
from gateway.swr.v1 import repos_pb2
from patience import AGES
from scripted_upstream import Act, Request, Script, ScriptedUpstream, answer, page

EMPTY = page("[]")
pytestmark = pytest.mark.usefixtures("patient_circuit")
Answers = dict[str, bytes]


@pytest.fixture
def serve(serve: Serve) -> Serve:
    """Start a gateway whose callers are told apart by their tokens."""
    return partial(serve, auth="passthrough")


def call(served: Served, token: str, name: str = "", **options: Any) -> Any:
    return served.list(name, metadata=(("x-auth-token", token),), **options)


async def reason_of(served: Served, token: str, name: str = "") -> str:
    """Make a call that fails; return why."""
    return (await failure_of(call(served, token, name))).reason


async def reasons(served: Served, token: str, times: int) -> list[str]:
    """Make so many calls that fail, one by one; return why."""
    return [await reason_of(served, token, str(number)) for number in range(times)]


async def succeed(served: Served, token: str, times: int = 1) -> None:
    """Make so many calls at once; all of them must be answered."""
    await asyncio.gather(*(call(served, token, str(number)) for number in range(times)))


def requests_of(upstream: ScriptedUpstream, token: str) -> int:
    return sum(request.headers.get("x-auth-token") == token for request in upstream.requests)


def by_token(answers: Answers) -> Script:
    """Answer each token in its own way, and others with a page."""

    def reply(request: Request) -> bytes:
        return answers.get(request.headers["x-auth-token"], EMPTY)

    return (reply,)


# Circuits


async def test_a_tenant_whose_requests_fail_closes_its_own_way_only(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(by_token({"sick": answer(503)}))
    served = await serve(**OPERATED)
    told = await reasons(served, "sick", 100)
    assert told == ["UPSTREAM_UNAVAILABLE"] * 20 + ["UPSTREAM_CIRCUIT_OPEN"] * 80
    assert requests_of(upstream, "sick") == 20
    await succeed(served, "well", times=50)
    assert await reasons(served, "sick", 1) == ["UPSTREAM_CIRCUIT_OPEN"]
    assert await served.ask("/readyz") == (200, "ok\nupstream circuit: closed, open for single credentials: 1\n")
    assert served.metric("upstream_circuit_open") == 0
    assert served.metric("upstream_circuit_open_tenants") == 1


async def test_where_several_tenants_fail_the_circuit_is_open_for_all_but_for_who_is_answered(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    upstream.play(by_token({"sick": answer(503), "ill": answer(502)}))
    served = await serve(**OPERATED)
    await succeed(served, "well")
    for token in ("sick", "ill"):
        await reasons(served, token, 20)
    assert await served.ask("/readyz") == (200, "ok\nupstream circuit: open, open for single credentials: 1\n")
    assert served.metric("upstream_circuit_open") == 1
    await succeed(served, "well", times=20)
    await succeed(served, "new")
    assert served.metric("upstream_circuit_open") == 0


async def test_the_only_tenant_there_is_has_the_circuit_that_is_told(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(by_token({"sick": answer(503)}))
    served = await serve()
    await reasons(served, "sick", 20)
    assert served.metric("upstream_circuit_open") == 1
    await succeed(served, "new", times=20)


async def test_a_tenant_that_cuts_its_probes_off_leaves_them_to_others(
    serve: Serve, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuits, "PROBE_TIME", AGES)
    upstream.play(by_token({"sick": answer(503), "ill": answer(502)}))
    served = await serve()
    for token in ("sick", "ill"):
        await reasons(served, token, 20)
    upstream.play((Act.STALL,))
    probe = call(served, "hasty")
    await upstream.all_arrived(31)
    probe.cancel()
    await upstream.all_hung_up(1)
    await served.until(calls_in_flight=0)
    upstream.play(EMPTY)
    assert await reason_of(served, "hasty") == "UPSTREAM_CIRCUIT_OPEN"
    await succeed(served, "patient")
    await succeed(served, "hasty")


async def test_a_new_token_in_the_gateways_own_file_is_no_new_tenant(
    serve: Serve, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    upstream.play(answer(503))
    file.write_text("first", "ascii")
    served = await serve(auth="token", token_file=file)
    await reasons(served, "", 10)
    file.write_text("second!", "ascii")
    await reasons(served, "", 10)
    assert requests_of(upstream, "second!")
    assert await reasons(served, "", 1) == ["UPSTREAM_CIRCUIT_OPEN"]


@pytest.mark.parametrize("auth", ["passthrough", "none"])
async def test_the_circuit_can_be_switched_off(serve: Serve, upstream: ScriptedUpstream, auth: str) -> None:
    upstream.play(answer(503))
    served = await serve(circuit=False, auth=auth, **OPERATED)
    for token in ("one", "two"):
        assert await reasons(served, token, 30) == ["UPSTREAM_UNAVAILABLE"] * 30
    assert await served.ask("/readyz") == (200, "ok\nupstream circuit: off\n")


async def test_its_numbers_are_settings(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(EMPTY, answer(503))
    served = await serve(auth="none", circuit_min_requests=3, circuit_ratio=0.75)
    await succeed(served, "")
    assert await reasons(served, "", 4) == ["UPSTREAM_UNAVAILABLE"] * 3 + ["UPSTREAM_CIRCUIT_OPEN"]


# Retries


async def test_a_tenant_that_spends_its_retries_leaves_others_theirs(
    serve: Serve, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for budget in (RetryBudget, CommonRetryBudget):
        monkeypatch.setattr(budget, "PER_SECOND", 0.0)
    once = answer(503, headers={"Retry-After": "0"})
    upstream.play(by_token({"greedy": once}))
    served = await serve(retries=10, circuit=False)
    for _ in range(2):
        await reason_of(served, "greedy")
    assert requests_of(upstream, "greedy") == 12
    upstream.play(once, EMPTY)
    await succeed(served, "modest")
    assert requests_of(upstream, "modest") == 2


# Permits


async def test_four_hundred_slow_calls_of_one_tenant_push_nobody_else_out(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    release = asyncio.Event()
    upstream.play((release, EMPTY))
    served = await serve()
    slow = [asyncio.ensure_future(call(served, "slow", str(number)).code()) for number in range(400)]
    await served.until(upstream_queue=200)
    await upstream.all_arrived(90)
    upstream.play(EMPTY)
    for _ in range(5):
        await succeed(served, "quick", times=20)
    assert requests_of(upstream, "slow") == 90
    release.set()
    codes = await asyncio.gather(*slow)
    assert {*codes} == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert 200 < codes.count(grpc.StatusCode.OK) <= 290


async def test_the_next_free_turn_is_a_newcomers(serve: Serve, upstream: ScriptedUpstream) -> None:
    release = asyncio.Event()
    upstream.play((release, EMPTY))
    served = await serve(max_in_flight=1)
    calls = [call(served, "busy", "first")]
    await upstream.all_arrived(1)
    calls += [call(served, "busy", str(number)) for number in range(10)]
    await served.until(upstream_queue=10)
    calls.append(call(served, "new"))
    await served.until(upstream_queue=11)
    release.set()
    await asyncio.gather(*calls)
    await served.drain()
    assert [request.headers["x-auth-token"] for request in upstream.requests[:3]] == ["busy", "new", "busy"]


async def test_who_has_less_than_its_share_of_turns_waits_longer_than_others_may(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    release = asyncio.Event()
    upstream.play((release, EMPTY))
    served = await serve(max_in_flight=4, queue_timeout="1ms")
    busy = [call(served, "busy", str(number)) for number in range(3)]
    await upstream.all_arrived(3)
    owed = [call(served, "owed", str(number)) for number in range(2)]
    await upstream.all_arrived(4)
    await served.until(upstream_queue=1)
    assert await reason_of(served, "busy") == "GATEWAY_OVERLOADED"
    assert served.metric("upstream_queue") == 1
    release.set()
    await asyncio.gather(*busy, *owed)


async def test_a_tenant_alone_leaves_turns_to_others_and_one_with_the_gateways_own_credential_does_not(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    upstream.play((Act.STALL,))
    for auth, taken in (("passthrough", 9), ("none", 10)):
        served = await serve(auth=auth, max_in_flight=10)
        calls = [call(served, "busy", str(number)) for number in range(20)]
        await served.until(upstream_queue=20 - taken)
        assert served.metric("upstream_in_flight") == taken
        for one in calls:
            one.cancel()


async def test_pages_that_a_stream_fetches_ahead_are_its_tenants_turns(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    release = asyncio.Event()
    rows = ",".join(['{"name":"r"}'] * 10)
    upstream.play((page(f"[{rows}]", {"Content-Range": "0-10/100"}),), (release, page(f"[{rows}]")))
    served = await serve(max_in_flight=3, max_queue=0)
    stream = served.stub.StreamRepos(
        repos_pb2.StreamReposRequest(page_size=10), metadata=(("x-auth-token", "streams"),)
    )
    await stream.read()
    await upstream.all_arrived(3)
    await served.until(upstream_in_flight=2)
    upstream.play(EMPTY)
    assert await reason_of(served, "streams") == "GATEWAY_OVERLOADED"
    await succeed(served, "other")
    release.set()
    stream.cancel()
