"""The outermost interceptor: whatever happens inside, a caller gets a status, and nothing of an exception's text.

grpc.aio by itself sends an exception's text to the caller, and leaves a caller waiting for ever whose handler raised a
CancelledError that was not the caller's.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2

from gateway.core.errors import (
    CALL_CANCELLED,
    DEADLINE_EXCEEDED,
    GATEWAY_DRAINING,
    GATEWAY_INTERNAL,
    UNREADABLE_REQUEST,
    GatewayError,
)
from gateway.core.rpc_status import to_rpc_status
from gateway.server.call import REQUEST_ID, Call
from gateway.server.observer import Observer

_log = logging.getLogger(__name__)

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_FINE = (None, grpc.StatusCode.OK)
_NUMBERS = {code: number for number, code in _CODES.items()}

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Admit: TypeAlias = Callable[[Context], None]

HEALTH = "/grpc.health.v1.Health/"

# Seconds that a call has to end after it was cancelled.
LAST_WORD = 2.0


def admit_all(context: Context) -> None:
    """Let everyone in."""


class _Method(NamedTuple):
    """A method that is served: its full name, and who may call it."""

    name: str
    admit: Admit


class Guard(grpc.aio.ServerInterceptor):
    """Lets callers in, and turns exceptions into statuses, for all four shapes of calls.

    Args:
        admit: Raises GatewayError where a caller may not call; whoever asks for the health of the gateway may.
        observer: Told of each call.
    """

    def __init__(self, admit: Admit, observer: Observer) -> None:
        self._admit = admit
        self._observer = observer
        self._guarded: dict[str, Handler] = {}
        self._draining = False
        self._serving: set[asyncio.Task[Any]] = set()

    @property
    def is_idle(self) -> bool:
        """Whether no call is being served."""
        return not self._serving

    def end_calls(self) -> None:
        """Tell all calls that are being served to end, because the gateway does."""
        self._draining = True
        for task in self._serving:
            task.cancel()

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
            self._observer.unserved()
            return None
        path = handler_call_details.method
        guarded = self._guarded.get(path)
        if guarded is None:
            admit = admit_all if path.startswith(HEALTH) else self._admit
            guarded = self._guarded[path] = self._wrap(handler, _Method(path.removeprefix("/"), admit))
        return guarded

    def _wrap(self, handler: Handler, method: _Method) -> Handler:
        """Wrap one of the four shapes. A single request is read inside of the guard, for it may be unreadable."""
        read, write = handler.request_deserializer, handler.response_serializer
        match handler.request_streaming, handler.response_streaming:
            case False, False:
                return grpc.unary_unary_rpc_method_handler(self._guard_unary(handler.unary_unary, method, read, write))
            case True, False:
                return grpc.stream_unary_rpc_method_handler(
                    self._guard_unary(handler.stream_unary, method, None, write), read
                )
            case False, True:
                return grpc.unary_stream_rpc_method_handler(
                    self._guard_stream(handler.unary_stream, method, read), response_serializer=write
                )
            case _:
                return grpc.stream_stream_rpc_method_handler(
                    self._guard_stream(handler.stream_stream, method, None), read, write
                )

    def _guard_unary(self, inner: Any, method: _Method, deserialize: Any, serialize: Any) -> Any:
        async def guarded(request: Any, context: Context) -> Any:
            call = self._begin(method, context)
            try:
                method.admit(context)
                if deserialize:
                    call.received = len(request)
                    request = deserialize(request)
                reply = await inner(request, context)
                if context.code() not in _FINE:
                    # A servicer's other way to fail: it sets a code, and returns what is no reply.
                    await context.abort(context.code(), context.details())
                if serialize:
                    reply = serialize(reply)
            except BaseException as exception:
                await self._answer(exception, context, call)
                raise
            call.sent = len(reply)
            self._observer.end(call, code_pb2.OK, None, context)
            return reply

        return guarded

    def _guard_stream(self, inner: Any, method: _Method, deserialize: Any) -> Any:
        """Guard a handler that yields its messages, or one that writes them to the context: grpc.aio serves both."""

        async def guarded_writer(request: Any, context: Context) -> None:
            call = self._begin(method, context)
            try:
                method.admit(context)
                await inner(_read(request, deserialize, call), context)
            except BaseException as exception:
                await self._answer(exception, context, call)
                raise
            self._observer.end(call, _told_code(context), None, context)

        async def guarded_generator(request: Any, context: Context) -> AsyncIterator[Any]:
            call = self._begin(method, context)
            try:
                method.admit(context)
                async for message in inner(_read(request, deserialize, call), context):
                    yield message
            except BaseException as exception:
                await self._answer(exception, context, call)
                raise
            self._observer.end(call, _told_code(context), None, context)

        return guarded_generator if inspect.isasyncgenfunction(inner) else guarded_writer

    def _begin(self, method: _Method, context: Context) -> Call:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        call = self._observer.begin(method.name, context)
        context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
        return call

    async def _answer(self, exception: BaseException, context: Context, call: Call) -> None:
        """End a failed call with a status; return where grpc ends it by itself."""
        error = self._error_for(exception, context, call)
        self._observer.end(call, error.cause.code if error else _code_of(exception, context), error, context)
        if error is not None:
            await _abort(context, error, call)

    def _error_for(self, exception: BaseException, context: Context, call: Call) -> GatewayError | None:
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
                return GatewayError(DEADLINE_EXCEEDED if _is_late(context) else CALL_CANCELLED)
            case asyncio.CancelledError() | Exception():
                _log.error("call %s failed", call.request_id, exc_info=exception)
                return GatewayError(GATEWAY_INTERNAL)
            case _:
                return None


def _read(request: Any, deserialize: Any, call: Call) -> Any:
    """Return the request of a stream of replies, or the requests of one in both directions."""
    if not deserialize:
        return request
    call.received = len(request)
    return deserialize(request)


def _is_cancelled() -> bool:
    """Tell whether the call itself was cancelled, rather than something that it waited for.

    The caller has gone then, or its deadline has passed, and nobody hears the answer. `context.cancelled()` is not
    asked: it becomes true only after the handler has ended.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _is_late(context: Context) -> bool:
    remaining: float | None = context.time_remaining()  # the stubs do not know that a caller may set none
    return remaining is not None and remaining <= 0


def _told_code(context: Context) -> int:
    """Return the status of a stream that came to its end: OK, unless its servicer has set another one."""
    code: grpc.StatusCode | None = context.code()  # the stubs do not know that there may be none
    return _NUMBERS[grpc.StatusCode.OK if code is None else code]


def _code_of(exception: BaseException, context: Context) -> int:
    """Return the status of a call that grpc ends: the one it was aborted with, or none that anybody saw."""
    if isinstance(exception, grpc.aio.AbortError):
        code: int = _NUMBERS[context.code()]
        return code
    return int(code_pb2.CANCELLED)


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
