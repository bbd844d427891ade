"""The outermost interceptor: whatever happens inside, a caller gets a status, and nothing of an exception's text.

grpc.aio by itself sends an exception's text to the caller, and leaves a caller waiting for ever whose handler raised a
CancelledError that was not the caller's.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from gateway.core.errors import (
    CALL_CANCELLED,
    GATEWAY_DRAINING,
    GATEWAY_INTERNAL,
    UNREADABLE_REQUEST,
    GatewayError,
)
from gateway.core.rpc_status import to_rpc_status
from gateway.server.call import REQUEST_ID, Call, begin_call

_log = logging.getLogger(__name__)

_CODES = {code.value[0]: code for code in grpc.StatusCode}

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Admit: TypeAlias = Callable[[Context], None]

HEALTH = "/grpc.health.v1.Health/"

# Seconds that a call has to end after it was cancelled.
LAST_WORD = 2.0


def admit_all(context: Context) -> None:
    """Let everyone in."""


class Guard(grpc.aio.ServerInterceptor):
    """Lets callers in, and turns exceptions into statuses, for all four shapes of calls.

    Args:
        admit: Raises GatewayError where a caller may not call; whoever asks for the health of the gateway may.
    """

    def __init__(self, admit: Admit = admit_all) -> None:
        self._admit = admit
        self._guarded: dict[Handler, Handler] = {}
        self._draining = False
        self._serving: set[asyncio.Task[Any]] = set()

    def drain(self) -> None:
        """From here on, a call that ends before its time ends because the gateway is shutting down."""
        self._draining = True

    async def last_call(self) -> None:
        """Wait until the last call has ended; a stopped server does not, and its calls have a last word to say.

        One that does not end although it was told to is left behind.
        """
        if self._serving:
            await asyncio.wait(self._serving, timeout=LAST_WORD)
            await asyncio.sleep(0)  # grpc itself looks at how they ended

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wrap the method's handler; a method that nobody serves stays unserved, which is UNIMPLEMENTED."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        guarded = self._guarded.get(handler)
        if guarded is None:
            admit = admit_all if handler_call_details.method.startswith(HEALTH) else self._admit
            guarded = self._guarded[handler] = self._wrap(handler, admit)
        return guarded

    def _wrap(self, handler: Handler, admit: Admit) -> Handler:
        """Wrap one of the four shapes. A single request is read inside of the guard, for it may be unreadable."""
        read, write = handler.request_deserializer, handler.response_serializer
        match handler.request_streaming, handler.response_streaming:
            case False, False:
                return grpc.unary_unary_rpc_method_handler(self._guard_unary(handler.unary_unary, admit, read, write))
            case True, False:
                return grpc.stream_unary_rpc_method_handler(
                    self._guard_unary(handler.stream_unary, admit, None, write), read
                )
            case False, True:
                return grpc.unary_stream_rpc_method_handler(
                    self._guard_stream(handler.unary_stream, admit, read), response_serializer=write
                )
            case _:
                return grpc.stream_stream_rpc_method_handler(
                    self._guard_stream(handler.stream_stream, admit, None), read, write
                )

    def _guard_unary(self, inner: Any, admit: Admit, deserialize: Any, serialize: Any) -> Any:
        async def guarded(request: Any, context: Context) -> Any:
            call = self._begin(context)
            try:
                admit(context)
                response = await inner(deserialize(request) if deserialize else request, context)
                return serialize(response) if serialize else response
            except BaseException as exception:
                await self._answer(exception, context, call)
                raise

        return guarded

    def _guard_stream(self, inner: Any, admit: Admit, deserialize: Any) -> Any:
        """Guard a handler that yields its messages, or one that writes them to the context: grpc.aio serves both."""

        async def guarded_writer(request: Any, context: Context) -> None:
            call = self._begin(context)
            try:
                admit(context)
                await inner(deserialize(request) if deserialize else request, context)
            except BaseException as exception:
                await self._answer(exception, context, call)
                raise

        async def guarded_generator(request: Any, context: Context) -> AsyncIterator[Any]:
            call = self._begin(context)
            try:
                admit(context)
                async for message in inner(deserialize(request) if deserialize else request, context):
                    yield message
            except BaseException as exception:
                await self._answer(exception, context, call)
                raise

        return guarded_generator if inspect.isasyncgenfunction(inner) else guarded_writer

    def _begin(self, context: Context) -> Call:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        call = begin_call(context.invocation_metadata() or ())
        context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
        return call

    async def _answer(self, exception: BaseException, context: Context, call: Call) -> None:
        """End a failed call with a status; return where grpc ends it by itself."""
        error = self._error_for(exception, call)
        if error is not None:
            await _abort(context, error, call)

    def _error_for(self, exception: BaseException, call: Call) -> GatewayError | None:
        """Return what the caller is told of an exception; None for those that are grpc's own way to end a call."""
        match exception:
            case GatewayError():
                return exception
            case grpc.aio.AbortError():
                return None
            case DecodeError():
                return GatewayError(UNREADABLE_REQUEST)
            case asyncio.CancelledError() if self._draining:
                return GatewayError(GATEWAY_DRAINING)
            case asyncio.CancelledError() if _is_cancelled():
                return GatewayError(CALL_CANCELLED)
            case asyncio.CancelledError() | Exception():
                _log.error("call %s failed", call.request_id, exc_info=exception)
                return GatewayError(GATEWAY_INTERNAL)
            case _:
                return None


def _is_cancelled() -> bool:
    """Tell whether the call itself was cancelled, rather than something that it waited for.

    The caller has gone then, or its deadline has passed, and nobody hears the answer. `context.cancelled()` is not
    asked: it becomes true only after the handler has ended.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _abort(context: Context, error: GatewayError, call: Call) -> None:
    """Everything in one `abort`: `abort_with_status` would drop the pushback."""
    status = to_rpc_status(error, call.request_id, context.time_remaining())
    trailers: list[tuple[str, str | bytes]] = [
        (REQUEST_ID, call.request_id),
        ("grpc-status-details-bin", status.details),
    ]
    if status.pushback_ms is not None:
        trailers.append(("grpc-retry-pushback-ms", str(status.pushback_ms)))
    await context.abort(_CODES[status.code], status.message, tuple(trailers))
