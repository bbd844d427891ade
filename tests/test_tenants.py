"""Tenants do not pay for each other: circuits, retries and turns of callers with tokens of their own, on sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from failures import Failure, failure_of
from gateway.core import circuits
from gateway.core.retry import CommonRetryBudget, RetryBudget
from gateway.server.gateway import Gateway
from gateway.settings.model import Settings
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from patience import AGES, PATIENT
from scripted_upstream import Act, Request, Script, ScriptedUpstream, answer, page

EMPTY = page("[]")
pytestmark = pytest.mark.usefixtures("patient_circuit")
Answers = dict[str, bytes]


@dataclass
class Served:
    """A gateway, and the upstream behind it."""

    stub: Any
    admin: str | None
    upstream: ScriptedUpstream

    def call(self, token: str, name: str = "", **options: Any) -> Any:
        request = repos_pb2.ListReposRequest(filter=repos_pb2.RepoFilter(name=name))
        return self.stub.ListRepos(request, metadata=(("x-auth-token", token),), **options)

    async def fail(self, token: str, name: str = "", **options: Any) -> Failure:
        return await failure_of(self.call(token, name, **options))

    async def reasons(self, token: str, times: int) -> list[str]:
        """Make so many calls that fail, one by one; return why."""
        return [(await self.fail(token, str(number))).reason for number in range(times)]

    async def succeed(self, token: str, times: int = 1) -> None:
        """Make so many calls at once; all of them must be answered."""
        await asyncio.gather(*(self.call(token, str(number)) for number in range(times)))

    async def look(self, path: str) -> str:
        async with aiohttp.request("GET", f"http://{self.admin}{path}", raise_for_status=True) as response:
            return await response.text()

    async def metric(self, name: str) -> float:
        families = text_string_to_metric_families(await self.look("/metrics"))
        samples = (sample for family in families for sample in family.samples)
        return sum(sample.value for sample in samples if sample.name == f"swr_gateway_{name}")

    async def until(self, name: str, number: float) -> None:
        while await self.metric(name) != number:
            pass

    def requests_of(self, token: str) -> int:
        return sum(request.headers.get("x-auth-token") == token for request in self.upstream.requests)


@asynccontextmanager
async def serving(upstream: ScriptedUpstream, **given: Any) -> AsyncIterator[Served]:
    defaults: dict[str, Any] = {"upstream_url": upstream.url, "auth": "passthrough", "retries": 0, "coalesce": False}
    defaults |= {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0", "drain_grace": "1s"} | PATIENT
    async with (
        Gateway(Settings(**defaults | given)) as gateway,
        grpc.aio.insecure_channel(gateway.addresses[0]) as channel,
    ):
        yield Served(RepoServiceStub(channel), gateway.admin_address, upstream)


def by_token(answers: Answers) -> Script:
    """Answer each token in its own way, and others with a page."""

    def reply(request: Request) -> bytes:
        return answers.get(request.headers["x-auth-token"], EMPTY)

    return (reply,)


# Circuits


async def test_a_tenant_whose_requests_fail_closes_its_own_way_only(upstream: ScriptedUpstream) -> None:
    upstream.play(by_token({"sick": answer(503)}))
    async with serving(upstream) as served:
        reasons = await served.reasons("sick", 100)
        assert reasons == ["UPSTREAM_UNAVAILABLE"] * 20 + ["UPSTREAM_CIRCUIT_OPEN"] * 80
        assert served.requests_of("sick") == 20
        await served.succeed("well", times=50)
        assert await served.reasons("sick", 1) == ["UPSTREAM_CIRCUIT_OPEN"]
        assert await served.look("/readyz") == "ok\nupstream circuit: closed, open for single credentials: 1\n"
        assert await served.metric("upstream_circuit_open") == 0
        assert await served.metric("upstream_circuit_open_tenants") == 1


async def test_where_several_tenants_fail_the_circuit_is_open_for_all_but_for_who_is_answered(
    upstream: ScriptedUpstream,
) -> None:
    upstream.play(by_token({"sick": answer(503), "ill": answer(502)}))
    async with serving(upstream) as served:
        await served.succeed("well")
        for token in ("sick", "ill"):
            await served.reasons(token, 20)
        assert await served.look("/readyz") == "ok\nupstream circuit: open, open for single credentials: 1\n"
        assert await served.metric("upstream_circuit_open") == 1
        await served.succeed("well", times=20)
        await served.succeed("new")
        assert await served.metric("upstream_circuit_open") == 0


async def test_the_only_tenant_there_is_has_the_circuit_that_is_told(upstream: ScriptedUpstream) -> None:
    upstream.play(by_token({"sick": answer(503)}))
    async with serving(upstream) as served:
        await served.reasons("sick", 20)
        assert await served.metric("upstream_circuit_open") == 1
        await served.succeed("new", times=20)


async def test_a_tenant_that_cuts_its_probes_off_leaves_them_to_others(
    upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuits, "PROBE_TIME", AGES)
    upstream.play(by_token({"sick": answer(503), "ill": answer(502)}))
    async with serving(upstream) as served:
        for token in ("sick", "ill"):
            await served.reasons(token, 20)
        upstream.play((Act.STALL,))
        probe = served.call("hasty")
        await upstream.all_arrived(31)
        probe.cancel()
        await upstream.all_hung_up(1)
        await served.until("calls_in_flight", 0)
        upstream.play(EMPTY)
        assert (await served.fail("hasty")).reason == "UPSTREAM_CIRCUIT_OPEN"
        await served.succeed("patient")
        await served.succeed("hasty")


async def test_a_new_token_in_the_gateways_own_file_is_no_new_tenant(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    upstream.play(answer(503))
    file.write_text("first", "ascii")
    async with serving(upstream, auth="token", token_file=file) as served:
        await served.reasons("", 10)
        file.write_text("second!", "ascii")
        await served.reasons("", 10)
        assert served.requests_of("second!")
        assert await served.reasons("", 1) == ["UPSTREAM_CIRCUIT_OPEN"]


@pytest.mark.parametrize("auth", ["passthrough", "none"])
async def test_the_circuit_can_be_switched_off(upstream: ScriptedUpstream, auth: str) -> None:
    upstream.play(answer(503))
    async with serving(upstream, circuit=False, auth=auth) as served:
        for token in ("one", "two"):
            assert await served.reasons(token, 30) == ["UPSTREAM_UNAVAILABLE"] * 30
        assert await served.look("/readyz") == "ok\nupstream circuit: off\n"


async def test_its_numbers_are_settings(upstream: ScriptedUpstream) -> None:
    upstream.play(EMPTY, answer(503))
    async with serving(upstream, auth="none", circuit_min_requests=3, circuit_ratio=0.75) as served:
        await served.succeed("")
        assert await served.reasons("", 4) == ["UPSTREAM_UNAVAILABLE"] * 3 + ["UPSTREAM_CIRCUIT_OPEN"]


# Retries


async def test_a_tenant_that_spends_its_retries_leaves_others_theirs(
    upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for budget in (RetryBudget, CommonRetryBudget):
        monkeypatch.setattr(budget, "PER_SECOND", 0.0)
    once = answer(503, headers={"Retry-After": "0"})
    upstream.play(by_token({"greedy": once}))
    async with serving(upstream, retries=10, circuit=False) as served:
        for _ in range(2):
            await served.fail("greedy")
        assert served.requests_of("greedy") == 12
        upstream.play(once, EMPTY)
        await served.succeed("modest")
        assert served.requests_of("modest") == 2


# Permits


async def test_four_hundred_slow_calls_of_one_tenant_push_nobody_else_out(upstream: ScriptedUpstream) -> None:
    release = asyncio.Event()
    upstream.play((release, EMPTY))
    async with serving(upstream) as served:
        slow = [asyncio.ensure_future(served.call("slow", str(number)).code()) for number in range(400)]
        await served.until("upstream_queue", 200)
        await upstream.all_arrived(90)
        upstream.play(EMPTY)
        for _ in range(5):
            await served.succeed("quick", times=20)
        assert served.requests_of("slow") == 90
        release.set()
        codes = await asyncio.gather(*slow)
    assert {*codes} == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert 200 < codes.count(grpc.StatusCode.OK) <= 290


async def test_the_next_free_turn_is_a_newcomers(upstream: ScriptedUpstream) -> None:
    release = asyncio.Event()
    upstream.play((release, EMPTY))
    async with serving(upstream, max_in_flight=1) as served:
        calls = [served.call("busy", "first")]
        await upstream.all_arrived(1)
        calls += [served.call("busy", str(number)) for number in range(10)]
        await served.until("upstream_queue", 10)
        calls.append(served.call("new"))
        await served.until("upstream_queue", 11)
        release.set()
        await asyncio.gather(*calls)
    assert [request.headers["x-auth-token"] for request in upstream.requests[:3]] == ["busy", "new", "busy"]


async def test_who_has_less_than_its_share_of_turns_waits_longer_than_others_may(upstream: ScriptedUpstream) -> None:
    release = asyncio.Event()
    upstream.play((release, EMPTY))
    async with serving(upstream, max_in_flight=4, queue_timeout="1ms") as served:
        busy = [served.call("busy", str(number)) for number in range(3)]
        await upstream.all_arrived(3)
        owed = [served.call("owed", str(number)) for number in range(2)]
        await upstream.all_arrived(4)
        await served.until("upstream_queue", 1)
        assert (await served.fail("busy")).reason == "GATEWAY_OVERLOADED"
        assert await served.metric("upstream_queue") == 1
        release.set()
        await asyncio.gather(*busy, *owed)


async def test_a_tenant_alone_leaves_turns_to_others_and_one_with_the_gateways_own_credential_does_not(
    upstream: ScriptedUpstream,
) -> None:
    upstream.play((Act.STALL,))
    for auth, taken in (("passthrough", 9), ("none", 10)):
        async with serving(upstream, auth=auth, max_in_flight=10) as served:
            calls = [served.call("busy", str(number)) for number in range(20)]
            await served.until("upstream_queue", 20 - taken)
            assert await served.metric("upstream_in_flight") == taken
            for call in calls:
                call.cancel()


async def test_pages_that_a_stream_fetches_ahead_are_its_tenants_turns(upstream: ScriptedUpstream) -> None:
    release = asyncio.Event()
    rows = ",".join(['{"name":"r"}'] * 10)
    upstream.play((page(f"[{rows}]", {"Content-Range": "0-10/100"}),), (release, page(f"[{rows}]")))
    async with serving(upstream, max_in_flight=3, max_queue=0) as served:
        stream = served.stub.StreamRepos(
            repos_pb2.StreamReposRequest(page_size=10), metadata=(("x-auth-token", "streams"),)
        )
        await stream.read()
        await served.until("upstream_in_flight", 2)
        upstream.play(EMPTY)
        assert (await served.fail("streams")).reason == "GATEWAY_OVERLOADED"
        await served.succeed("other")
        release.set()
        stream.cancel()
