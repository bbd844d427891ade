"""What metrics tell of calls and of requests to the upstream."""

from __future__ import annotations

import asyncio
from functools import partial

import grpc
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from conftest import Serve, Served
from failures import failure_of
from gateway.server.connections import count_connections
from gateway.swr.v1 import repos_pb2
from patience import HOUR, Advance, until
from scripted_upstream import Act, ScriptedUpstream, answer, page

LIST, STREAM = "gateway.swr.v1.RepoService/ListRepos", "gateway.swr.v1.RepoService/StreamRepos"
REQUEST = repos_pb2.ListReposRequest(filter=repos_pb2.RepoFilter(namespace="n"))


@pytest.fixture
def serve(serve: Serve) -> Serve:
    """Start a gateway that lets calls share requests."""
    return partial(serve, coalesce=True)


def registry_of(served: Served) -> CollectorRegistry:
    """Return its metrics from inside: those of calls are settled once it has drained."""
    return served.gateway._metrics.registry


def value(served: Served, name: str, **labels: str) -> float | None:
    return registry_of(served).get_sample_value(name, labels)


def call_value(served: Served, name: str, method: str, status: str) -> float | None:
    return value(served, f"grpc_server_call_{name}", grpc_method=method, grpc_status=status)


def labels_of(served: Served, name: str) -> list[dict[str, str]]:
    families = registry_of(served).collect()
    return [sample.labels for family in families for sample in family.samples if sample.name == name]


async def test_a_call_is_counted_timed_and_weighed(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(page('[{"name":"a"},{"name":"b"}]'))
    served = await serve()
    reply = await served.stub.ListRepos(REQUEST)
    await served.drain()
    assert value(served, "grpc_server_call_started_total", grpc_method=LIST) == 1
    assert call_value(served, "duration_seconds_count", LIST, "OK") == 1
    assert (call_value(served, "duration_seconds_sum", LIST, "OK") or 0) > 0
    assert call_value(served, "rcvd_total_compressed_message_size_bytes_sum", LIST, "OK") == REQUEST.ByteSize()
    assert call_value(served, "sent_total_compressed_message_size_bytes_sum", LIST, "OK") == reply.ByteSize()
    assert value(served, "swr_gateway_rows_total") == 2
    assert value(served, "swr_gateway_conversion_duration_seconds_count") == 1


async def test_a_stream_is_weighed_as_a_whole(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(page('[{"name":"a"},{"name":"b"}]'), page('[{"name":"c"}]'))
    served = await serve()
    sizes = [part.ByteSize() async for part in served.stub.StreamRepos(repos_pb2.StreamReposRequest(page_size=2))]
    await served.drain()
    assert call_value(served, "sent_total_compressed_message_size_bytes_sum", STREAM, "OK") == sum(sizes)
    assert call_value(served, "duration_seconds_count", STREAM, "OK") == 1
    assert value(served, "swr_gateway_rows_total") == 3
    assert value(served, "swr_gateway_conversion_duration_seconds_count") == 2


async def test_a_failure_is_told_by_status_and_reason(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(answer(404))
    served = await serve()
    await failure_of(served.stub.ListRepos(REQUEST))
    await served.drain()
    assert call_value(served, "duration_seconds_count", LIST, "NOT_FOUND") == 1
    assert value(served, "swr_gateway_call_failures_total", grpc_method=LIST, reason="UPSTREAM_NOT_FOUND") == 1


async def test_an_abort_of_the_librarys_own_servicers_has_its_status(serve: Serve) -> None:
    served = await serve()
    check = served.channel.unary_unary("/grpc.health.v1.Health/Check")
    await failure_of(check(b"\x0a\x01x"))
    await served.drain()
    assert call_value(served, "duration_seconds_count", "grpc.health.v1.Health/Check", "NOT_FOUND") == 1


async def test_a_code_that_a_servicer_sets_is_the_status(serve: Serve) -> None:
    served = await serve(channelz=True)
    get_channel = served.channel.unary_unary("/grpc.channelz.v1.Channelz/GetChannel")
    failure = await failure_of(get_channel(b"\x08\xbf\x84\x3d"))
    await served.drain()
    assert failure.code is grpc.StatusCode.NOT_FOUND
    assert call_value(served, "duration_seconds_count", "grpc.channelz.v1.Channelz/GetChannel", "NOT_FOUND") == 1
    assert "GATEWAY_INTERNAL" not in {
        labels["reason"] for labels in labels_of(served, "swr_gateway_call_failures_total")
    }


async def test_a_method_that_nobody_serves_has_no_name(serve: Serve) -> None:
    served = await serve()
    for number in range(3):
        await failure_of(served.channel.unary_unary(f"/made.up/Method{number}")(b""))
    await served.drain()
    assert value(served, "grpc_server_call_started_total", grpc_method="other") == 3
    assert call_value(served, "duration_seconds_count", "other", "UNIMPLEMENTED") == 3
    assert [labels["grpc_method"] for labels in labels_of(served, "grpc_server_call_started_total")] == ["other"]


async def test_calls_in_flight_are_those_that_are_being_served(serve: Serve, upstream: ScriptedUpstream) -> None:
    release = asyncio.Event()
    upstream.play((release, page("[]")), (Act.STALL,))
    served = await serve(coalesce=False)
    calls = [served.stub.ListRepos(REQUEST) for _ in range(2)]
    await upstream.all_arrived(2)
    assert value(served, "swr_gateway_calls_in_flight") == 2
    release.set()
    await asyncio.wait(map(asyncio.ensure_future, calls), return_when=asyncio.FIRST_COMPLETED)
    for call in calls:
        call.cancel()
    await served.drain()
    assert value(served, "swr_gateway_calls_in_flight") == 0


@pytest.mark.parametrize("others", [0, 150], ids=["few servers", "more servers than channelz tells of at a time"])
async def test_connections_are_counted(serve: Serve, others: int) -> None:
    """Those of all servers of this process: others leave theirs when they like."""
    kept = [grpc.aio.server() for _ in range(others)]
    count_connections()  # channelz numbers servers when it first tells of them
    served = await serve()
    await until(lambda: value(served, "swr_gateway_connections") == 0)
    await served.stub.ListRepos(REQUEST)
    assert value(served, "swr_gateway_connections") == 1
    for server in kept:
        await server.stop(None)


async def test_every_request_to_the_upstream_is_timed_by_what_became_of_it(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance
) -> None:
    upstream.play(page("[]"), answer(503, "", {"Connection": "close"}), (Act.STALL,))
    served = await serve(retries=1, attempt_timeout="1h")
    await served.stub.ListRepos(REQUEST)
    call = served.stub.ListRepos(REQUEST)
    await upstream.all_arrived(3)
    advance(HOUR)
    await failure_of(call)
    await served.drain()
    host, _, port = upstream.url.removeprefix("http://").partition(":")
    outcomes = {}
    for labels in labels_of(served, "http_client_request_duration_seconds_count"):
        assert (labels.pop("server_address"), labels.pop("server_port")) == (host, port)
        assert labels.pop("http_request_method") == "GET"
        everything = {**labels, "server_address": host, "server_port": port, "http_request_method": "GET"}
        counted = value(served, "http_client_request_duration_seconds_count", **everything)
        outcomes[labels["http_response_status_code"], labels["error_type"]] = counted
    assert outcomes == {("200", ""): 1, ("503", "UPSTREAM_UNAVAILABLE"): 1, ("", "UPSTREAM_TIMEOUT"): 1}
    results = ("ok", "UPSTREAM_UNAVAILABLE", "UPSTREAM_TIMEOUT")
    assert [value(served, "swr_gateway_upstream_attempts_total", result=result) for result in results] == [1, 1, 1]


async def test_requests_that_were_sent_again_are_there_from_the_start(serve: Serve) -> None:
    served = await serve()
    for cause in ("UPSTREAM_CONNECTION_LOST", "UPSTREAM_TIMEOUT"):
        assert value(served, "swr_gateway_upstream_resends_total", cause=cause) == 0


async def test_a_caller_who_cancels_during_the_drain_is_no_fault_of_the_service(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    upstream.play((Act.STALL,))
    served = await serve(retries=2, drain_delay="1h")
    call = served.stub.ListRepos(REQUEST)
    await upstream.all_arrived(1)
    leaving = asyncio.create_task(served.drain())
    await until(lambda: bool(served.gateway.not_ready_reasons()))
    call.cancel()
    await upstream.all_hung_up(1)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert value(served, "swr_gateway_call_failures_total", grpc_method=LIST, reason="CALL_CANCELLED") == 1


async def test_what_is_compared_is_there_before_the_first_failure(serve: Serve) -> None:
    """A series that begins with a failure has no increase."""
    served = await serve()
    await served.drain()
    for method in (LIST, STREAM):
        for status in ("OK", "UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "DATA_LOSS"):
            assert call_value(served, "duration_seconds_count", method, status) == 0
        assert value(served, "swr_gateway_call_failures_total", grpc_method=method, reason="GATEWAY_OVERLOADED") == 0


async def test_made_up_statuses_are_told_by_their_class(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(*(answer(status) for status in (404, 499, 700, 799)))
    served = await serve()
    for _ in range(4):
        await failure_of(served.stub.ListRepos(REQUEST))
    await served.drain()
    series = labels_of(served, "http_client_request_duration_seconds_count")
    assert {labels["http_response_status_code"] for labels in series} == {"404", "4xx", "7xx"}


async def test_coalesced_calls_are_calls_of_their_own_with_the_work_of_one(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    release = asyncio.Event()
    upstream.play((release, page('[{"name":"a"}]')))
    served = await serve()
    calls = [served.stub.ListRepos(REQUEST) for _ in range(5)]
    while value(served, "swr_gateway_coalesced_calls_total") != 4:
        await upstream.all_arrived(1)
        await asyncio.sleep(0)
    release.set()
    await asyncio.gather(*calls)
    await served.drain()
    assert call_value(served, "duration_seconds_count", LIST, "OK") == 5
    assert value(served, "swr_gateway_rows_total") == 5
    assert value(served, "swr_gateway_conversion_duration_seconds_count") == 1


async def test_ready_is_1_while_the_gateway_serves(serve: Serve) -> None:
    served = await serve()
    assert value(served, "swr_gateway_ready") == 1
    await served.drain()
    assert value(served, "swr_gateway_ready") == 0


async def test_no_series_tells_when_it_was_created(serve: Serve) -> None:
    served = await serve()
    await served.stub.ListRepos(REQUEST)
    text = generate_latest(registry_of(served)).decode()
    names = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    assert "swr_gateway_build_info" in names
    assert not [name for name in names if name.endswith("_created")]


@pytest.mark.parametrize("name", ["process_resident_memory_bytes", "swr_gateway_event_loop_lag_seconds_count"])
async def test_the_process_itself_is_told(serve: Serve, name: str) -> None:
    served = await serve()
    assert value(served, name) is not None
