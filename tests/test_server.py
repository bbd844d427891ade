"""The server around RepoService: health, reflection, its ports, and how it starts and stops."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from conftest import Serve, Served
from failures import failure_of, read_failure
from gateway.background import background
from gateway.core.errors import GatewayError
from gateway.core.service import SERVICE_NAME
from gateway.files.reloading import Look
from gateway.server import interceptor
from gateway.server.options import MAX_REQUEST_BYTES
from gateway.server.standing import StandingCalls
from gateway.start_errors import ListenError
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from http2 import Frame, Kind, peer, peer_with_calls
from patience import AGES, until
from scripted_upstream import Act, ScriptedUpstream, answer, page

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
REQUEST = repos_pb2.ListReposRequest()


def calls_ended(served: Served, status: str) -> float:
    labels = {"grpc_method": f"{SERVICE_NAME}/ListRepos", "grpc_status": status}
    registry = served.gateway._metrics.registry
    return registry.get_sample_value("grpc_server_call_duration_seconds_count", labels) or 0.0


@pytest.mark.parametrize("service", ["", "gateway.swr.v1.RepoService"])
async def test_health_is_told_for_the_whole_and_for_the_service(serve: Serve, service: str) -> None:
    health = (await serve(auth="passthrough")).health
    reply = await health.Check(health_pb2.HealthCheckRequest(service=service))
    assert reply.status == SERVING


async def test_health_of_an_unknown_service_is_not_found(serve: Serve) -> None:
    health = (await serve()).health
    failure = await failure_of(health.Check(health_pb2.HealthCheckRequest(service="x")))
    assert failure.code is grpc.StatusCode.NOT_FOUND


async def test_health_lists_everything(serve: Serve) -> None:
    health = (await serve()).health
    reply = await health.List(health_pb2.HealthListRequest())  # type: ignore[attr-defined]
    assert {name: status.status for name, status in reply.statuses.items()} == {
        "": SERVING,
        "gateway.swr.v1.RepoService": SERVING,
    }


async def test_who_watches_is_told_of_the_drain_and_does_not_hold_it_up(serve: Serve) -> None:
    served = await serve(drain_grace="1h")
    watch = served.health.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == SERVING
    await served.until(messages_waiting=0)  # else the watch ends with that message, and has no other
    await served.drain()
    assert (await watch.read()).status == NOT_SERVING
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await watch.read()
    assert read_failure(ended.value).reason == "GATEWAY_DRAINING"


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_who_reflects_without_end_does_not_hold_up_the_drain(serve: Serve, version: str) -> None:
    request = reflection_pb2.ServerReflectionRequest
    served = await serve(drain_grace="1h")
    call = served.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=request.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )()
    await call.write(request(list_services=""))
    assert (await call.read()).HasField("list_services_response")
    await served.drain()
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await call.read()
    assert read_failure(ended.value).reason == "GATEWAY_DRAINING"


async def test_a_standing_call_that_begins_behind_the_end_is_ended() -> None:
    calls = StandingCalls()
    calls.end()
    with pytest.raises(GatewayError, match="GATEWAY_DRAINING"), calls.standing():
        pass


async def test_a_standing_call_that_is_ended_while_it_sends_a_message_is_told_why() -> None:
    calls, sending = StandingCalls(), asyncio.Event()

    async def messages() -> AsyncGenerator[str, None]:
        with calls.standing():
            yield "message"

    async def send() -> None:
        async with aclosing(messages()) as sent:
            async for _ in sent:
                sending.set()
                await asyncio.Event().wait()

    call = asyncio.create_task(send())
    await sending.wait()
    calls.end()
    with pytest.raises(GatewayError, match="GATEWAY_DRAINING"):
        await call


async def test_work_in_the_background_that_ends_by_itself_is_told_and_harms_no_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        raise ZeroDivisionError("on purpose")

    async with background("the work", work()):
        await until(lambda: bool(caplog.records))
    (record,) = caplog.records
    assert record.getMessage().startswith("the work: ended by an unexpected exception")
    assert "ZeroDivisionError: on purpose" in caplog.text


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_and_describes(serve: Serve, version: str) -> None:
    request = reflection_pb2.ServerReflectionRequest
    channel = (await serve()).channel
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=request.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(iter([request(list_services=""), request(file_containing_symbol="gateway.swr.v1.RepoService")]))
    listed, described = [reply async for reply in call]
    names = {service.name for service in listed.list_services_response.service}
    assert {"gateway.swr.v1.RepoService", "grpc.health.v1.Health"} < names
    files = [FileDescriptorProto.FromString(file) for file in described.file_descriptor_response.file_descriptor_proto]
    (file,) = (file for file in files if file.service)
    assert file.service[0].method[0].name == "ListRepos"
    shown = {field.name: field.json_name for message in file.message_type for field in message.field}
    assert (shown["updated_at"], shown["name"], shown["content_range"]) == ("updatedAt", "name", "contentRange")


async def test_all_that_is_listed_can_be_described(serve: Serve) -> None:
    request = reflection_pb2.ServerReflectionRequest
    channel = (await serve()).channel
    method = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=request.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    (listed,) = [reply async for reply in method(iter([request(list_services="")]))]
    names = [service.name for service in listed.list_services_response.service]
    replies = [reply async for reply in method(iter([request(file_containing_symbol=name) for name in names]))]
    assert [reply.HasField("file_descriptor_response") for reply in replies] == [True] * len(names)


async def test_reflection_can_be_switched_off(serve: Serve) -> None:
    channel = (await serve(reflection=False)).channel
    call = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")(iter([b""]))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call.read()
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("method", ["ListRepos", "StreamRepos"])
async def test_a_status_of_a_call_that_failed_comes_with_its_first_headers(
    method: str, serve: Serve, upstream: ScriptedUpstream
) -> None:
    """Behind headers without a status neither gRPC's clients nor Envoy retry."""
    upstream.play(answer(503, ""))
    async with peer((await serve(retries=0)).address) as client:
        (frame,) = await client.answer_to(f"/{SERVICE_NAME}/{method}")
    assert (frame.kind, frame.ends_its_stream) == (Kind.HEADERS, True)


async def test_a_request_too_large_to_be_one_is_refused(serve: Serve, upstream: ScriptedUpstream) -> None:
    channel = (await serve()).channel
    call = channel.unary_unary("/gateway.swr.v1.RepoService/ListRepos")
    failure = await failure_of(call(b"\x0a" * (MAX_REQUEST_BYTES + 1)))
    assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert upstream.requests == []


async def test_several_addresses_are_served_and_a_socket_file_too(serve: Serve, tmp_path: Path) -> None:
    path = f"unix:{tmp_path}/gateway.sock"
    addresses = (await serve(listen=f"127.0.0.1:0,{path}")).gateway.addresses
    assert addresses[1] == path
    for address in addresses:
        async with grpc.aio.insecure_channel(address) as channel:
            assert await RepoServiceStub(channel).ListRepos(REQUEST) == repos_pb2.ListReposResponse()


async def test_a_port_in_use_is_not_shared(serve: Serve) -> None:
    address = (await serve()).address
    with pytest.raises(ListenError, match=address):
        await serve(listen=address)


async def test_a_call_in_flight_outlives_the_drain(serve: Serve, upstream: ScriptedUpstream) -> None:
    release = asyncio.Event()
    upstream.play((release, page('[{"name":"late"}]')))
    served = await serve(drain_grace="1h")
    call = served.stub.ListRepos(REQUEST)
    await upstream.all_arrived(1)
    asyncio.get_running_loop().call_soon(release.set)
    await served.drain()
    assert (await call).repos[0].name == "late"


def served_calls() -> set[str]:
    """Return the names of grpc's own tasks, one or two for each call that the server has not done with."""
    names = {task.get_name() for task in asyncio.all_tasks()}
    return {name for name in names if name == "rpc_task" or name.startswith("HandleExceptions")}


@pytest.mark.parametrize("turns", range(20))
async def test_nothing_of_a_call_is_left_when_the_drain_is_cut_short(
    serve: Serve, upstream: ScriptedUpstream, turns: int
) -> None:
    """A loop that ends with calls half done prints their tracebacks, wherever the drain stands by then."""
    upstream.play((Act.STALL,))
    served = await serve(drain_grace="1h")
    call = served.stub.ListRepos(REQUEST)
    await upstream.all_arrived(1)
    assert served_calls()
    leaving = asyncio.create_task(served.drain())
    for _ in range(turns + 1):
        await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert not served_calls()
    assert (await failure_of(call)).reason == "GATEWAY_DRAINING"


@pytest.mark.parametrize("turns", range(30))
async def test_a_start_that_is_cut_short_leaves_nothing(serve: Serve, turns: int) -> None:
    """Wherever it stands by then: as Ctrl-C in `demo` does."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    before = asyncio.all_tasks()
    starting = asyncio.ensure_future(serve())
    for _ in range(turns + 1):
        await asyncio.sleep(0)
    if not starting.cancel():
        await starting.result().drain()
    await asyncio.wait([starting])
    gc.collect()
    assert (asyncio.all_tasks() - before, told) == (set(), [])


async def test_files_are_looked_at_again_although_a_look_failed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Part:
        def __init__(self) -> None:
            self.fails = True

        def look_at_files(self) -> tuple[Look, ...]:
            if self.fails:
                self.fails = False
                raise RuntimeError("can't start new thread")
            loop.call_soon_threadsafe(looked.set)
            return ()

    monkeypatch.setattr("gateway.files.watch.LOOK_EVERY", 0.01)
    (await serve()).gateway._file_watch.parts = (Part(),)
    await looked.wait()
    assert "files were not looked at" in caplog.text


async def test_two_looks_at_files_come_one_after_the_other(serve: Serve) -> None:
    began, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    looks: list[str] = []

    class Part:
        def look_at_files(self) -> tuple[Look, ...]:
            looks.append("begins")
            loop.call_soon_threadsafe(began.set)
            go_on.wait()
            looks.append("ends")
            return ()

    gateway = (await serve()).gateway
    gateway._file_watch.parts = (Part(),)
    reading = [asyncio.create_task(gateway.read_files()) for _ in range(2)]
    await began.wait()
    await asyncio.to_thread(list)
    go_on.set()
    await asyncio.wait(reading)
    assert looks == ["begins", "ends"] * 2


async def test_calls_are_served_during_the_delay_of_the_drain(serve: Serve) -> None:
    served = await serve(drain_delay="1h")
    watch = served.health.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == SERVING
    leaving = asyncio.create_task(served.drain())
    assert (await watch.read()).status == NOT_SERVING
    assert await served.stub.ListRepos(REQUEST) == repos_pb2.ListReposResponse()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving


@pytest.mark.parametrize(("grace", "served_as"), [("1000h", "OK"), ("0s", "UNAVAILABLE")])
async def test_calls_that_have_arrived_before_the_drain_are_taken_up(
    serve: Serve, upstream: ScriptedUpstream, grace: str, served_as: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library hands them over one at a time, and drops those that still queue there when it stops."""
    monkeypatch.setattr(interceptor, "LOOK_EVERY", 0.5)
    monkeypatch.setattr(interceptor, "LATEST_ARRIVAL", AGES)
    upstream.play(page("[]"))
    served = await serve(drain_grace=grace)
    async with peer_with_calls(served.address, "/gateway.swr.v1.RepoService/ListRepos", 50) as (client, calls):
        leaving = asyncio.create_task(served.drain())
        last: dict[int, Frame] = {}
        while len(last) < len(calls):
            frame = await client.read()
            if frame.ends_its_stream:
                last[frame.stream] = frame
        await leaving
    assert {Kind(frame.kind) for frame in last.values()} == {Kind.HEADERS}
    assert calls_ended(served, served_as) == len(calls)


async def test_the_drain_waits_for_calls_that_arrived_in_time_however_long_and_not_for_later_ones(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interceptor, "QUIET_LOOKS", AGES)
    monkeypatch.setattr(interceptor, "LATEST_ARRIVAL", 0.0)
    served = await serve()
    monkeypatch.setattr(served.gateway, "_calls_arrived", count(1).__next__)
    leaving = asyncio.create_task(served.drain())
    assert await served.stub.ListRepos(REQUEST) == repos_pb2.ListReposResponse()
    await leaving


async def test_calls_that_the_library_never_hands_over_do_not_hold_up_the_drain(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their callers left while it had them."""
    monkeypatch.setattr(interceptor, "QUIET_LOOKS", 1)
    monkeypatch.setattr(interceptor, "LATEST_ARRIVAL", AGES)
    served = await serve()
    monkeypatch.setattr(served.gateway, "_calls_arrived", lambda: 1)
    await served.drain()


async def test_a_call_that_outlasts_the_grace_is_ended_and_so_is_its_upstream_request(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    upstream.play((Act.STALL,))
    served = await serve(drain_grace="100ms")
    call = served.stub.ListRepos(REQUEST)
    await upstream.all_arrived(1)
    await served.drain()
    failure = await failure_of(call)
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "GATEWAY_DRAINING")
    await upstream.all_hung_up(1)
