"""What metrics tell of calls and of requests to the upstream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from failures import failure_of
from gateway.server.gateway import Gateway
from gateway.settings.model import Settings
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from patience import HOUR, PATIENT, Advance, until
from scripted_upstream import Act, ScriptedUpstream, answer, page

LIST, STREAM = "gateway.swr.v1.RepoService/ListRepos", "gateway.swr.v1.RepoService/StreamRepos"
REQUEST = repos_pb2.ListReposRequest(filter=repos_pb2.RepoFilter(namespace="n"))


class Watched:
    """A gateway whose metrics are looked at from inside: those of calls are settled once it has stopped."""

    def __init__(self, running: Gateway, channel: Any) -> None:
        self.channel = channel
        self.stub: Any = RepoServiceStub(channel)
        self._registry: CollectorRegistry = running._metrics.registry

    def value(self, name: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(name, labels)

    def call(self, name: str, method: str, status: str) -> float | None:
        return self.value(f"grpc_server_call_{name}", grpc_method=method, grpc_status=status)

    def labels(self, name: str) -> list[dict[str, str]]:
        return [
            sample.labels for family in self._registry.collect() for sample in family.samples if sample.name == name
        ]


@asynccontextmanager
async def watched(upstream: ScriptedUpstream, **more: object) -> AsyncIterator[Watched]:
    plain = {"auth": "none", "listen": "127.0.0.1:0", "admin_listen": None, "upstream_url": upstream.url, "retries": 0}
    plain |= PATIENT
    async with Gateway(Settings.model_validate(plain | more)) as running:
        channel = grpc.aio.insecure_channel(running.addresses[0])
        yield Watched(running, channel)
    await channel.close()


async def test_a_call_is_counted_timed_and_weighed(upstream: ScriptedUpstream) -> None:
    upstream.play(page('[{"name":"a"},{"name":"b"}]'))
    async with watched(upstream) as gateway:
        reply = await gateway.stub.ListRepos(REQUEST)
    assert gateway.value("grpc_server_call_started_total", grpc_method=LIST) == 1
    assert gateway.call("duration_seconds_count", LIST, "OK") == 1
    assert (gateway.call("duration_seconds_sum", LIST, "OK") or 0) > 0
    assert gateway.call("rcvd_total_compressed_message_size_bytes_sum", LIST, "OK") == REQUEST.ByteSize()
    assert gateway.call("sent_total_compressed_message_size_bytes_sum", LIST, "OK") == reply.ByteSize()
    assert gateway.value("swr_gateway_rows_total") == 2
    assert gateway.value("swr_gateway_conversion_duration_seconds_count") == 1


async def test_a_stream_is_weighed_as_a_whole(upstream: ScriptedUpstream) -> None:
    upstream.play(page('[{"name":"a"},{"name":"b"}]'), page('[{"name":"c"}]'))
    async with watched(upstream) as gateway:
        sizes = [part.ByteSize() async for part in gateway.stub.StreamRepos(repos_pb2.StreamReposRequest(page_size=2))]
    assert gateway.call("sent_total_compressed_message_size_bytes_sum", STREAM, "OK") == sum(sizes)
    assert gateway.call("duration_seconds_count", STREAM, "OK") == 1
    assert gateway.value("swr_gateway_rows_total") == 3
    assert gateway.value("swr_gateway_conversion_duration_seconds_count") == 2


async def test_a_failure_is_told_by_status_and_reason(upstream: ScriptedUpstream) -> None:
    upstream.play(answer(404))
    async with watched(upstream) as gateway:
        await failure_of(gateway.stub.ListRepos(REQUEST))
    assert gateway.call("duration_seconds_count", LIST, "NOT_FOUND") == 1
    assert gateway.value("swr_gateway_call_failures_total", grpc_method=LIST, reason="UPSTREAM_NOT_FOUND") == 1


async def test_an_abort_of_the_librarys_own_servicers_has_its_status(upstream: ScriptedUpstream) -> None:
    async with watched(upstream) as gateway:
        check = gateway.channel.unary_unary("/grpc.health.v1.Health/Check")
        await failure_of(check(b"\x0a\x01x"))
    assert gateway.call("duration_seconds_count", "grpc.health.v1.Health/Check", "NOT_FOUND") == 1


async def test_a_code_that_a_servicer_sets_is_the_status(upstream: ScriptedUpstream) -> None:
    async with watched(upstream, channelz=True) as gateway:
        get_channel = gateway.channel.unary_unary("/grpc.channelz.v1.Channelz/GetChannel")
        failure = await failure_of(get_channel(b"\x08\xbf\x84\x3d"))
    assert failure.code is grpc.StatusCode.NOT_FOUND
    assert gateway.call("duration_seconds_count", "grpc.channelz.v1.Channelz/GetChannel", "NOT_FOUND") == 1
    assert "GATEWAY_INTERNAL" not in {labels["reason"] for labels in gateway.labels("swr_gateway_call_failures_total")}


async def test_a_method_that_nobody_serves_has_no_name(upstream: ScriptedUpstream) -> None:
    async with watched(upstream) as gateway:
        for number in range(3):
            await failure_of(gateway.channel.unary_unary(f"/made.up/Method{number}")(b""))
    assert gateway.value("grpc_server_call_started_total", grpc_method="other") == 3
    assert gateway.call("duration_seconds_count", "other", "UNIMPLEMENTED") == 3
    assert [labels["grpc_method"] for labels in gateway.labels("grpc_server_call_started_total")] == ["other"]


async def test_calls_in_flight_are_those_that_are_being_served(upstream: ScriptedUpstream) -> None:
    release = asyncio.Event()
    upstream.play((release, page("[]")), (Act.STALL,))
    async with watched(upstream, coalesce=False) as gateway:
        calls = [gateway.stub.ListRepos(REQUEST) for _ in range(2)]
        await upstream.all_arrived(2)
        assert gateway.value("swr_gateway_calls_in_flight") == 2
        release.set()
        await asyncio.wait(map(asyncio.ensure_future, calls), return_when=asyncio.FIRST_COMPLETED)
        for call in calls:
            call.cancel()
    assert gateway.value("swr_gateway_calls_in_flight") == 0


async def test_connections_are_counted(upstream: ScriptedUpstream) -> None:
    """Those of all servers of this process: others leave theirs when they like."""
    async with watched(upstream) as gateway:
        await until(lambda: gateway.value("swr_gateway_connections") == 0)
        await gateway.stub.ListRepos(REQUEST)
        assert gateway.value("swr_gateway_connections") == 1


async def test_every_request_to_the_upstream_is_timed_by_what_became_of_it(
    upstream: ScriptedUpstream, advance: Advance
) -> None:
    upstream.play(page("[]"), answer(503, "", {"Connection": "close"}), (Act.STALL,))
    async with watched(upstream, retries=1, attempt_timeout="1h") as gateway:
        await gateway.stub.ListRepos(REQUEST)
        call = gateway.stub.ListRepos(REQUEST)
        await upstream.all_arrived(3)
        advance(HOUR)
        await failure_of(call)
    host, _, port = upstream.url.removeprefix("http://").partition(":")
    outcomes = {}
    for labels in gateway.labels("http_client_request_duration_seconds_count"):
        assert (labels.pop("server_address"), labels.pop("server_port")) == (host, port)
        assert labels.pop("http_request_method") == "GET"
        everything = {**labels, "server_address": host, "server_port": port, "http_request_method": "GET"}
        counted = gateway.value("http_client_request_duration_seconds_count", **everything)
        outcomes[labels["http_response_status_code"], labels["error_type"]] = counted
    assert outcomes == {("200", ""): 1, ("503", "UPSTREAM_UNAVAILABLE"): 1, ("", "UPSTREAM_TIMEOUT"): 1}


async def test_a_caller_who_cancels_during_the_drain_is_no_fault_of_the_service(upstream: ScriptedUpstream) -> None:
    upstream.play((Act.STALL,))
    plain = {"auth": "none", "listen": "127.0.0.1:0", "admin_listen": None, "upstream_url": upstream.url}
    running = await Gateway(Settings.model_validate(plain | PATIENT | {"drain_delay": "1h"})).__aenter__()
    async with grpc.aio.insecure_channel(running.addresses[0]) as channel:
        gateway = Watched(running, channel)
        call = gateway.stub.ListRepos(REQUEST)
        await upstream.arrived.wait()
        leaving = asyncio.create_task(running.__aexit__(None, None, None))
        await until(lambda: bool(running.not_ready_reasons()))
        call.cancel()
        await upstream.hung_up.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert gateway.value("swr_gateway_call_failures_total", grpc_method=LIST, reason="CALL_CANCELLED") == 1


async def test_what_is_compared_is_there_before_the_first_failure(upstream: ScriptedUpstream) -> None:
    """A series that begins with a failure has no increase."""
    async with watched(upstream) as gateway:
        pass
    for method in (LIST, STREAM):
        for status in ("OK", "UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "DATA_LOSS"):
            assert gateway.call("duration_seconds_count", method, status) == 0
        assert gateway.value("swr_gateway_call_failures_total", grpc_method=method, reason="GATEWAY_OVERLOADED") == 0


async def test_made_up_statuses_are_told_by_their_class(upstream: ScriptedUpstream) -> None:
    upstream.play(*(answer(status) for status in (404, 499, 700, 799)))
    async with watched(upstream) as gateway:
        for _ in range(4):
            await failure_of(gateway.stub.ListRepos(REQUEST))
    series = gateway.labels("http_client_request_duration_seconds_count")
    assert {labels["http_response_status_code"] for labels in series} == {"404", "4xx", "7xx"}


async def test_coalesced_calls_are_calls_of_their_own_with_the_work_of_one(upstream: ScriptedUpstream) -> None:
    release = asyncio.Event()
    upstream.play((release, page('[{"name":"a"}]')))
    async with watched(upstream) as gateway:
        calls = [gateway.stub.ListRepos(REQUEST) for _ in range(5)]
        while gateway.value("swr_gateway_coalesced_calls_total") != 4:
            await upstream.arrived.wait()
            await asyncio.sleep(0)
        release.set()
        await asyncio.gather(*calls)
    assert gateway.call("duration_seconds_count", LIST, "OK") == 5
    assert gateway.value("swr_gateway_rows_total") == 5
    assert gateway.value("swr_gateway_conversion_duration_seconds_count") == 1


async def test_ready_is_1_while_the_gateway_serves(upstream: ScriptedUpstream) -> None:
    async with watched(upstream) as gateway:
        assert gateway.value("swr_gateway_ready") == 1
    assert gateway.value("swr_gateway_ready") == 0


async def test_no_series_tells_when_it_was_created(upstream: ScriptedUpstream) -> None:
    async with watched(upstream) as gateway:
        await gateway.stub.ListRepos(REQUEST)
        text = generate_latest(gateway._registry).decode()
    names = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    assert "swr_gateway_build_info" in names
    assert not [name for name in names if name.endswith("_created")]


@pytest.mark.parametrize("name", ["process_resident_memory_bytes", "swr_gateway_event_loop_lag_seconds_count"])
async def test_the_process_itself_is_told(upstream: ScriptedUpstream, name: str) -> None:
    async with watched(upstream) as gateway:
        assert gateway.value(name) is not None
