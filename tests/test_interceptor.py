"""The interceptor, around handlers of all four shapes that do everything wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from failures import Failure, read_failure
from gateway.core.errors import UPSTREAM_TIMEOUT, GatewayError
from gateway.metrics import Metrics
from gateway.server.interceptor import CallInterceptor, allow_all
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.call import current_call
from gateway.telemetry.observer import Observer
from gateway.telemetry.tracing import NoTracing
from patience import until

SERVICE = "test.Shapes"
SECRET = "token=s3cr3t"

Misdeed = Callable[[Any], Any]


async def fail_plainly(_: Any) -> None:
    raise RuntimeError(SECRET)


async def fail_with_a_cause(_: Any) -> None:
    raise GatewayError(UPSTREAM_TIMEOUT)


async def be_cancelled_by_another(_: Any) -> None:
    other = asyncio.ensure_future(asyncio.Event().wait())
    asyncio.get_running_loop().call_soon(other.cancel)
    await other


async def cancel_the_call_itself(_: Any) -> None:
    task = asyncio.current_task()
    assert task
    task.cancel()
    await asyncio.Event().wait()


async def abort(context: Any) -> None:
    await context.abort(grpc.StatusCode.NOT_FOUND, "on purpose")


async def do_nothing(_: Any) -> None:
    pass


def handlers(misdeed: Misdeed) -> grpc.GenericRpcHandler:
    async def unary_unary(request: StringValue, context: Any) -> StringValue:
        await misdeed(context)
        return StringValue(value=f"{request.value} {current_call().request_id}")

    async def unary_stream(request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        yield request
        await misdeed(context)

    async def stream_unary(requests: AsyncIterator[StringValue], context: Any) -> StringValue:
        values = [request.value async for request in requests]
        await misdeed(context)
        return StringValue(value=" ".join(values))

    async def stream_stream(requests: AsyncIterator[StringValue], context: Any) -> AsyncIterator[StringValue]:
        async for request in requests:
            yield request
        await misdeed(context)

    codec: dict[str, Any] = {
        "request_deserializer": StringValue.FromString,
        "response_serializer": StringValue.SerializeToString,
    }
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "UnaryUnary": grpc.unary_unary_rpc_method_handler(unary_unary, **codec),
            "UnaryStream": grpc.unary_stream_rpc_method_handler(unary_stream, **codec),
            "StreamUnary": grpc.stream_unary_rpc_method_handler(stream_unary, **codec),
            "StreamStream": grpc.stream_stream_rpc_method_handler(stream_stream, **codec),
        },
    )


def make_interceptor(metrics: Metrics | None = None) -> CallInterceptor:
    metrics = metrics or Metrics()
    return CallInterceptor(allow_all, Observer(metrics, AccessLog(metrics), NoTracing()), metrics)


class Caller:
    """Calls each shape with one request, as bytes, and collects what comes back."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel

    def start(self, shape: str, request: bytes = b"", timeout: float | None = None) -> Any:
        path = f"/{SERVICE}/{shape}"
        match shape:
            case "UnaryUnary":
                return self.channel.unary_unary(path)(request, timeout=timeout)
            case "UnaryStream":
                return self.channel.unary_stream(path)(request, timeout=timeout)
            case "StreamUnary":
                return self.channel.stream_unary(path)(iter([request]), timeout=timeout)
            case _:
                return self.channel.stream_stream(path)(iter([request]), timeout=timeout)

    async def call(self, shape: str, request: bytes = b"", **more: float) -> list[bytes]:
        started = self.start(shape, request, **more)
        if shape.endswith("Unary"):
            return [await started]
        return [reply async for reply in started]

    async def failure(self, shape: str, request: bytes = b"", **more: float) -> Failure:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.call(shape, request, **more)
        return read_failure(raised.value)


SHAPES = ["UnaryUnary", "UnaryStream", "StreamUnary", "StreamStream"]


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    """Serve handlers that do something wrong."""
    closers: list[Callable[[], Any]] = []

    async def start(misdeed: Misdeed, interceptor: CallInterceptor | None = None) -> Caller:
        server = grpc.aio.server(interceptors=(interceptor or make_interceptor(),))
        server.add_generic_rpc_handlers((handlers(misdeed),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        closers.extend([channel.close, lambda: server.stop(None)])
        return Caller(channel)

    yield start
    for close in closers:
        await close()


Serve = Callable[..., Any]


async def test_an_exception_is_logged_and_nothing_of_it_reaches_the_caller(
    serve: Serve, shape: str, caplog: pytest.LogCaptureFixture
) -> None:
    caller = await serve(fail_plainly)
    failure = await caller.failure(shape)
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "GATEWAY_INTERNAL")
    assert SECRET not in str(failure)
    assert SECRET in caplog.text
    assert str(failure.trailers["x-request-id"]) in caplog.text


async def test_a_gateway_error_is_answered_as_what_it_is(serve: Serve, shape: str) -> None:
    caller = await serve(fail_with_a_cause)
    failure = await caller.failure(shape)
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_TIMEOUT")


async def test_a_cancellation_that_is_not_the_callers_leaves_no_one_waiting(serve: Serve, shape: str) -> None:
    caller = await serve(be_cancelled_by_another)
    failure = await caller.failure(shape)
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "GATEWAY_INTERNAL")


async def test_a_call_that_is_cancelled_from_inside_leaves_no_one_waiting_either(serve: Serve, shape: str) -> None:
    caller = await serve(cancel_the_call_itself)
    failure = await caller.failure(shape)
    assert (failure.code, failure.reason) == (grpc.StatusCode.CANCELLED, "CALL_CANCELLED")


async def test_a_caller_who_cancels_is_no_error_of_ours(
    serve: Serve, shape: str, caplog: pytest.LogCaptureFixture
) -> None:
    waiting, ended = asyncio.Event(), asyncio.Event()

    async def wait(_: Any) -> None:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    caller = await serve(wait)
    call = caller.start(shape)
    await waiting.wait()
    call.cancel()
    await ended.wait()
    assert caplog.text == ""


async def test_a_call_that_grpc_cancels_behind_its_deadline_was_late(serve: Serve, shape: str) -> None:
    metrics = Metrics()
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait(context: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            context.add_done_callback(lambda _: ended.set())

    def counted(reason: str) -> float:
        labels = {"grpc_method": f"{SERVICE}/{shape}", "reason": reason}
        return metrics.registry.get_sample_value("swr_gateway_call_failures_total", labels) or 0.0

    caller = await serve(wait, make_interceptor(metrics))
    # On a busy machine the time may end before the handler has begun; and the caller's clock, which began before the
    # request arrived, may cancel the call a moment before the server's says that it is late.
    while not counted("DEADLINE_EXCEEDED"):
        begun.clear()
        ended.clear()
        assert (await caller.failure(shape, timeout=0.1)).code is grpc.StatusCode.DEADLINE_EXCEEDED
        if begun.is_set():
            await ended.wait()


async def test_the_last_call_is_waited_for_although_its_server_has_stopped() -> None:
    interceptor = make_interceptor()
    waiting, last_word, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def end_slowly(_: Any) -> None:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            await last_word.wait()
            ended.set()

    server = grpc.aio.server(interceptors=(interceptor,))
    server.add_generic_rpc_handlers((handlers(end_slowly),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = Caller(channel).start("UnaryUnary")
        await waiting.wait()
        await server.stop(None)
        assert not ended.is_set()
        asyncio.get_running_loop().call_soon(last_word.set)
        await interceptor.wait_for_calls()
        assert ended.is_set()
        with pytest.raises(grpc.aio.AioRpcError):
            await call


async def test_a_call_that_goes_on_when_its_server_has_stopped_is_no_error_of_ours(
    shape: str, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    interceptor = make_interceptor(metrics)
    waiting, stopped = asyncio.Event(), asyncio.Event()

    async def read_too_late(context: Any) -> None:
        waiting.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await stopped.wait()
        await context.read()

    server = grpc.aio.server(interceptors=(interceptor,))
    server.add_generic_rpc_handlers((handlers(read_too_late),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = Caller(channel).start(shape)
        await waiting.wait()
        await server.stop(None)
        stopped.set()
        await interceptor.wait_for_calls()
        call.cancel()
    labels = {"grpc_method": f"{SERVICE}/{shape}", "reason": "GATEWAY_DRAINING"}
    assert metrics.registry.get_sample_value("swr_gateway_call_failures_total", labels) == 1
    assert caplog.text == ""


async def test_a_cancellation_during_the_drain_says_so(serve: Serve, shape: str) -> None:
    interceptor = make_interceptor()
    interceptor.end_calls()
    caller = await serve(be_cancelled_by_another, interceptor)
    failure = await caller.failure(shape)
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "GATEWAY_DRAINING")


async def test_an_abort_passes(serve: Serve, shape: str, caplog: pytest.LogCaptureFixture) -> None:
    caller = await serve(abort)
    failure = await caller.failure(shape)
    assert (failure.code, failure.message) == (grpc.StatusCode.NOT_FOUND, "on purpose")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_request_that_cannot_be_read_is_the_callers_fault(serve: Serve, shape: str) -> None:
    caller = await serve(do_nothing)
    failure = await caller.failure(shape, b"\xff\xff")
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "UNREADABLE_REQUEST")


async def test_what_goes_well_goes_through(serve: Serve, shape: str) -> None:
    caller = await serve(do_nothing)
    (reply,) = await caller.call(shape, StringValue(value="hello").SerializeToString())
    assert StringValue.FromString(reply).value.startswith("hello")


async def test_a_method_that_nobody_serves_is_unimplemented(serve: Serve) -> None:
    caller = await serve(do_nothing)
    failure = await caller.failure("Nothing")
    assert failure.code is grpc.StatusCode.UNIMPLEMENTED


async def test_a_call_without_a_request_is_answered(serve: Serve, shape: str) -> None:
    caller = await serve(do_nothing)
    if shape.startswith("Stream"):
        return  # none is as good as any number
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await caller.channel.stream_unary(f"/{SERVICE}/{shape}")(iter([]))
    failure = read_failure(raised.value)
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "REQUEST_MISSING")


class Failing(Observer):
    """Fails at a step."""

    step = ""

    def begin(self, *given: Any) -> Any:
        if self.step == "begin":
            raise ValueError(SECRET)
        return super().begin(*given)

    def end(self, *given: Any) -> None:
        super().end(*given)
        if self.step == "end":
            raise ValueError(SECRET)


def failing_interceptor(metrics: Metrics, step: str) -> CallInterceptor:
    observer = Failing(metrics, AccessLog(metrics), NoTracing())
    observer.step = step
    return CallInterceptor(allow_all, observer, metrics)


async def test_what_fails_before_a_call_has_begun_tells_nothing_and_leaves_nothing_behind(
    serve: Serve, shape: str, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    caller = await serve(do_nothing, failing_interceptor(metrics, "begin"))
    failure = await caller.failure(shape)
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "GATEWAY_INTERNAL")
    assert SECRET not in str(failure)
    assert SECRET in caplog.text
    await until(lambda: metrics.registry.get_sample_value("swr_gateway_calls_in_flight") == 0)


async def test_what_fails_in_telling_of_a_call_does_not_fail_the_call(
    serve: Serve, shape: str, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    caller = await serve(do_nothing, failing_interceptor(metrics, "end"))
    (reply,) = await caller.call(shape, StringValue(value="hello").SerializeToString())
    assert StringValue.FromString(reply).value.startswith("hello")
    assert SECRET in caplog.text
    await until(lambda: metrics.registry.get_sample_value("swr_gateway_calls_in_flight") == 0)


async def test_every_call_has_an_id_of_its_own(serve: Serve) -> None:
    caller = await serve(do_nothing)
    replies = await asyncio.gather(*(caller.call("UnaryUnary") for _ in range(50)))
    assert len({StringValue.FromString(reply).value for (reply,) in replies}) == 50
