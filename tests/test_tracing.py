"""Traces: what is passed on without an exporter, and the spans that a receiver of OTLP gets with one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from conftest import Serve
from failures import failure_of
from gateway.start_errors import TracingError
from gateway.swr.v1 import repos_pb2
from gateway.telemetry import spans
from patience import HOUR
from scripted_upstream import Act, ScriptedUpstream, answer, page

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
REQUEST = repos_pb2.ListReposRequest(filter=repos_pb2.RepoFilter(namespace="canary-4711"))


@dataclass
class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes what exporters send, or holds it until it may answer."""

    address: str = ""
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    resources: list[dict[str, str]] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)

    async def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the method's name
        await self.may_answer.wait()
        for of_resource in request.resource_spans:
            self.resources.append({pair.key: pair.value.string_value for pair in of_resource.resource.attributes})
            for of_scope in of_resource.scope_spans:
                self.spans += of_scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()

    def named(self, name: str) -> list[Span]:
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start_time_unix_nano)


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    """A receiver, and an environment that names it."""
    server = grpc.aio.server()
    receiver = Receiver()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]
    receiver.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{receiver.address}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", str(HOUR))
    receiver.may_answer.set()
    yield receiver
    await server.stop(None)


@pytest.fixture
def serve(serve: Serve) -> Serve:
    """Start a gateway that sends requests again and lets calls share them, as it does by default."""
    return partial(serve, retries=2, coalesce=True)


def attributes(span: Span) -> dict[str, Any]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}


async def test_a_callers_trace_goes_upstream_as_it_came(serve: Serve, upstream: ScriptedUpstream) -> None:
    stub = (await serve()).stub
    states = (("tracestate", "vendor=1"), ("tracestate", "other=2"))
    metadata = (("traceparent", PARENT), *states, ("baggage", "secret=1"))
    await stub.ListRepos(REQUEST, metadata=metadata)
    headers = upstream.requests[0].headers
    assert (headers["traceparent"], headers["tracestate"]) == (PARENT, "vendor=1,other=2")
    assert "baggage" not in headers


async def test_without_a_trace_nothing_is_made_up(serve: Serve, upstream: ScriptedUpstream) -> None:
    stub = (await serve()).stub
    await stub.ListRepos(REQUEST, metadata=(("traceparent", "odd"), ("tracestate", "vendor=1")))
    assert not {"traceparent", "tracestate"} & upstream.requests[0].headers.keys()


async def test_a_call_and_its_attempts_are_spans_of_the_callers_trace(
    serve: Serve, upstream: ScriptedUpstream, receiver: Receiver
) -> None:
    upstream.play(answer(503), page("[]"))
    metadata = (("traceparent", PARENT), ("tracestate", "vendor=1"), ("x-request-id", "rq-1"))
    served = await serve()
    await served.stub.ListRepos(REQUEST, metadata=metadata)
    await served.drain()
    (call,) = receiver.named("gateway.swr.v1.RepoService/ListRepos")
    first, second = receiver.named("GET")
    assert {span.trace_id.hex() for span in receiver.spans} == {TRACE}
    assert call.parent_span_id.hex() == "b7ad6b7169203331"
    assert (call.kind, call.trace_state) == (Span.SPAN_KIND_SERVER, "vendor=1")
    assert attributes(call) == {
        "rpc.system": "grpc",
        "rpc.service": "gateway.swr.v1.RepoService",
        "rpc.method": "ListRepos",
        "rpc.grpc.status_code": 0,
        "swr_gateway.request_id": "rq-1",
    }
    host, _, port = upstream.url.removeprefix("http://").partition(":")
    common = {
        "http.request.method": "GET",
        "server.address": host,
        "server.port": int(port),
        "url.full": f"{upstream.url}/v2/manage/repos",
    }
    assert first.parent_span_id == second.parent_span_id == call.span_id
    assert attributes(first) == {**common, "http.response.status_code": 503, "error.type": "UPSTREAM_UNAVAILABLE"}
    assert first.status.code == Status.STATUS_CODE_ERROR
    assert attributes(second) == {**common, "http.response.status_code": 200, "http.request.resend_count": 1}
    for request, span in zip(upstream.requests, (first, second), strict=True):
        assert request.headers["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
        assert request.headers["tracestate"] == "vendor=1"
    assert "canary-4711" not in str(receiver.spans)


async def test_a_call_without_a_trace_begins_one(serve: Serve, upstream: ScriptedUpstream, receiver: Receiver) -> None:
    served = await serve()
    await served.stub.ListRepos(REQUEST)
    await served.drain()
    (call,) = receiver.named("gateway.swr.v1.RepoService/ListRepos")
    assert not call.parent_span_id
    assert upstream.requests[0].headers["traceparent"].split("-")[1] == call.trace_id.hex()


@pytest.mark.parametrize(
    ("script", "code", "reason", "is_error"),
    [
        pytest.param(answer(503), grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE", True, id="the service's"),
        pytest.param(answer(404), grpc.StatusCode.NOT_FOUND, "UPSTREAM_NOT_FOUND", False, id="the caller's"),
    ],
)
async def test_a_failure_is_told_and_an_error_is_what_is_the_services_fault(
    serve: Serve,
    upstream: ScriptedUpstream,
    receiver: Receiver,
    script: bytes,
    code: grpc.StatusCode,
    reason: str,
    is_error: bool,
) -> None:
    upstream.play(script)
    served = await serve(retries=0)
    assert (await failure_of(served.stub.ListRepos(REQUEST))).code is code
    await served.drain()
    (call,) = receiver.named("gateway.swr.v1.RepoService/ListRepos")
    assert attributes(call)["error.type"] == reason
    assert attributes(call)["rpc.grpc.status_code"] == code.value[0]
    assert (call.status.code == Status.STATUS_CODE_ERROR) == is_error


async def test_a_call_that_its_caller_cancels_ends_its_spans(
    serve: Serve, upstream: ScriptedUpstream, receiver: Receiver
) -> None:
    upstream.play((Act.STALL,))
    served = await serve()
    call = served.stub.ListRepos(REQUEST)
    await upstream.all_arrived(1)
    call.cancel()
    await upstream.all_hung_up(1)
    await served.drain()
    assert attributes(receiver.named("GET")[0])["error.type"] == "CUT_OFF"
    assert receiver.named("gateway.swr.v1.RepoService/ListRepos")


async def test_a_stream_is_one_call_with_an_attempt_for_each_page(
    serve: Serve, upstream: ScriptedUpstream, receiver: Receiver
) -> None:
    upstream.play(page('[{"name":"a"},{"name":"b"}]'), page('[{"name":"c"}]'))
    served = await serve()
    async for _ in served.stub.StreamRepos(repos_pb2.StreamReposRequest(page_size=2)):
        pass
    await served.drain()
    (call,) = receiver.named("gateway.swr.v1.RepoService/StreamRepos")
    assert [span.parent_span_id for span in receiver.named("GET")] == [call.span_id] * 2


async def test_the_service_is_named_and_the_environment_names_it_otherwise(
    serve: Serve, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve()
    await served.stub.ListRepos(REQUEST)
    await served.drain()
    monkeypatch.setenv("OTEL_SERVICE_NAME", "ours")
    served = await serve()
    await served.stub.ListRepos(REQUEST)
    await served.drain()
    assert [resource["service.name"] for resource in receiver.resources] == ["swr-gateway", "ours"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
    ],
)
@pytest.mark.usefixtures("receiver")
async def test_what_the_library_does_not_take_is_told_at_the_start(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(TracingError, match=r"^tracing cannot start: "):
        await serve()


@pytest.mark.parametrize(("name", "value"), [("OTEL_TRACES_EXPORTER", "none"), ("OTEL_SDK_DISABLED", "true")])
async def test_tracing_can_be_switched_off(
    serve: Serve, upstream: ScriptedUpstream, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    served = await serve()
    await served.stub.ListRepos(REQUEST, metadata=(("traceparent", PARENT),))
    await served.drain()
    assert upstream.requests[0].headers["traceparent"] == PARENT
    assert not receiver.spans


async def test_what_the_caller_does_not_sample_is_not_sent(
    serve: Serve, upstream: ScriptedUpstream, receiver: Receiver
) -> None:
    served = await serve()
    await served.stub.ListRepos(REQUEST, metadata=(("traceparent", f"{PARENT[:-1]}0"),))
    await served.drain()
    assert upstream.requests[0].headers["traceparent"].startswith(f"00-{TRACE}-")
    assert upstream.requests[0].headers["traceparent"].endswith("-00")
    assert not receiver.spans


async def test_a_receiver_that_does_not_answer_holds_up_neither_calls_nor_the_end(
    serve: Serve, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "CLOSE_TIMEOUT", 0.1)
    receiver.may_answer.clear()
    served = await serve()
    await served.stub.ListRepos(REQUEST)
    await served.drain()
    (sending,) = [thread for thread in threading.enumerate() if thread.name == "last spans"]
    assert sending.daemon
    assert not receiver.spans
    receiver.may_answer.set()
    await asyncio.to_thread(sending.join)
    assert receiver.spans
