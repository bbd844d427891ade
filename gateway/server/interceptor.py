"""The interceptor around all calls: authorizes callers, and has each call served inside of gateway.server.serving."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, NamedTuple, TypeAlias

import grpc

from gateway.metrics import Metrics
from gateway.server.serving import Context, ServedCall, ServedCalls, arrived_with
from gateway.settings.model import WRITE_TIMEOUT
from gateway.telemetry.observer import Observer

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Authorize: TypeAlias = Callable[[Context], None]

HEALTH = "/grpc.health.v1.Health/"

# Seconds that a call has to end after it was cancelled.
END_TIMEOUT = 2.0
# Seconds behind which a drain does not wait for a reader that takes nothing.
STANDS_STILL = 5.0
# Seconds between looks at the calls that gRPC still has to hand over, and how many looks at which none came mean that
# those will not come, for their callers have left: on a busy machine gRPC's threads get no turn for a while.
LOOK_EVERY = 0.005
QUIET_LOOKS = 50
# Seconds after which those that arrive are too late: where calls go on to come there is no end of them.
LATEST_ARRIVAL = 1.0

_FINE = (None, grpc.StatusCode.OK)


def allow_all(context: Context) -> None:
    """Let everyone in."""


class _Method(NamedTuple):
    """A method that is served.

    Attributes:
        name: Its full name.
        authorize: Says who may call it.
        read: Reads a request from its bytes.
        serialize: Makes bytes of a reply.
        takes_stream: Whether it takes any number of requests.
    """

    name: str
    authorize: Authorize
    read: Callable[[bytes], Any] | None
    serialize: Callable[[Any], bytes] | None
    takes_stream: bool


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Authorizes callers, and has calls of all four shapes served; gateway.server.ending makes statuses of failures.

    Args:
        authorize: Raises GatewayError where a caller may not call; whoever asks for the health of the gateway may.
        observer: Told of each call.
        metrics: Where calls are counted.
        patience: Seconds that a call waits for its caller at a time.
    """

    def __init__(
        self, authorize: Authorize, observer: Observer, metrics: Metrics, patience: float = WRITE_TIMEOUT
    ) -> None:
        self._authorize = authorize
        self._observer = observer
        self._wrapped: dict[str, Handler] = {}
        self._calls = ServedCalls(observer, metrics, patience)
        self._taken_up = 0
        self._entrance = asyncio.Lock()

    @asynccontextmanager
    async def take_up(self, arrived: Callable[[], int]) -> AsyncIterator[None]:
        """Take up all calls that have arrived, for a block that stops the server: gRPC drops those that it still has.

        It hands over one at each turn of the event loop, and under load most of their time they wait for that. So until
        the end of the block none goes on that comes from now on; behind it they go on one at a turn, as ever.

        Args:
            arrived: Returns how many have reached gRPC since the start.
        """
        now = asyncio.get_running_loop().time
        async with self._entrance:
            closes, quiet, expected = now() + LATEST_ARRIVAL, 0, arrived()
            while self._taken_up < expected and quiet < QUIET_LOOKS:
                before = self._taken_up
                await asyncio.sleep(LOOK_EVERY)
                quiet = quiet + 1 if self._taken_up == before else 0
                if now() < closes:
                    expected = arrived()
            yield

    @property
    def is_idle(self) -> bool:
        """Whether no call is being served, but for those whose readers stand still."""
        return self._calls.waits.all_unread_for(STANDS_STILL)

    def end_calls(self) -> None:
        """Tell all calls that are being served to end, because the gateway does."""
        self._calls.draining = True
        for task in self._calls.tasks():
            task.cancel()

    async def wait_for_calls(self) -> None:
        """Wait until the last call has ended; a stopped server does not, and its calls have a last word to say.

        One that does not end although it was told to is left behind.
        """
        if tasks := self._calls.tasks():
            await asyncio.wait(tasks, timeout=END_TIMEOUT)
            await asyncio.sleep(0)  # grpc itself looks at how they ended

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wrap the method's handler; a method that nobody serves stays unserved, which is UNIMPLEMENTED."""
        handler = await continuation(handler_call_details)
        if handler is None:
            self._taken_up += 1
            self._observer.unserved()
            return None
        arrived_with.set(handler_call_details.invocation_metadata)
        path = handler_call_details.method
        serve = self._wrapped.get(path)
        if serve is None:
            serve = self._wrapped[path] = self._wrap(handler, path)
        return serve

    def _wrap(self, handler: Handler, path: str) -> Handler:
        """Wrap one of the four shapes.

        To gRPC all of them take streams of requests, for it never answers a call of which it wants a single one that
        does not come. Requests and replies are bytes to it: they are read and made in here, where they may turn out to
        be unreadable.
        """
        method = _Method(
            path.removeprefix("/"),
            allow_all if path.startswith(HEALTH) else self._authorize,
            handler.request_deserializer,
            handler.response_serializer,
            handler.request_streaming,
        )
        if handler.response_streaming:
            inner = handler.stream_stream or handler.unary_stream
            return grpc.stream_stream_rpc_method_handler(
                self._wrap_stream(inner, method), method.read if method.takes_stream else None
            )
        inner = handler.stream_unary or handler.unary_unary
        return grpc.stream_unary_rpc_method_handler(
            self._wrap_unary(inner, method), method.read if method.takes_stream else None
        )

    def _wrap_unary(self, inner: Any, method: _Method) -> Any:
        async def serve(requests: Any, context: Context) -> Any:
            async with ServedCall(self._calls, method.name, context, is_stream=False) as served:
                reply = await inner(await self._enter(served, method, context, requests), context)
                if context.code() not in _FINE:
                    # A servicer's other way to fail: it sets a code, and returns what is no reply.
                    await context.abort(context.code(), context.details())
                if method.serialize:
                    reply = method.serialize(reply)
                served.reply(reply)
                return reply

        return serve

    def _wrap_stream(self, inner: Any, method: _Method) -> Any:
        """Wrap a handler that yields its messages; one that wrote them to the context would not be watched over."""

        async def serve(requests: Any, context: Context) -> None:
            async with ServedCall(self._calls, method.name, context, is_stream=True) as served:
                request = await self._enter(served, method, context, requests)
                async with aclosing(inner(request, context)) as messages:
                    async for message in messages:
                        await served.write(method.serialize(message) if method.serialize else message)

        return serve

    async def _enter(self, served: ServedCall, method: _Method, context: Context, requests: Any) -> Any:
        """Let a caller in; return the request, or the requests of a method that takes many."""
        self._taken_up += 1
        served.begin()
        method.authorize(context)
        if method.takes_stream:
            served.read_any()
            return requests
        message = await served.read_one()
        async with self._entrance:
            pass
        return method.read(message) if method.read else message
