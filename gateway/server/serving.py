"""Serves one call: records it once, watches how long it waits for its caller, and ends it with a status.

grpc.aio by itself sends an exception's text to the caller. It never answers a call that sent no request, nor one whose
handler raised a CancelledError that was not the caller's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self, TypeAlias

import grpc

from gateway.core.errors import (
    GATEWAY_DRAINING,
    REQUEST_MISSING,
    REQUEST_TIMEOUT,
    SLOW_READER,
    Cause,
    GatewayError,
)
from gateway.metrics import Metrics
from gateway.server.ending import abort, code_of, error_for
from gateway.server.peer import peer_name
from gateway.server.waiting import CallerWaits
from gateway.telemetry.call import REQUEST_ID, Call, begin_call
from gateway.telemetry.observer import Observer
from gateway.telemetry.tracing import NoTracing

_log = logging.getLogger(__name__)

Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

# The caller's metadata, from the interceptor to the call, in one task: gRPC makes it anew each time that it is asked.
arrived_with: ContextVar[Metadata] = ContextVar("arrived_with")

# Bytes that gRPC puts before each message.
PREFIX = 5
# Seconds by which gRPC may be late to cancel a call whose caller has gone without sending a request.
CANCELLATION_LAG = 0.05


class ServedCalls:
    """The calls that are being served: from their headers until their last byte is taken.

    Args:
        observer: Told of each.
        metrics: Where they are counted.
        patience: Seconds that a call waits for its caller at a time.

    Attributes:
        observer: Told of each.
        waits: How long they wait for their callers.
        draining: Whether they are being ended because the gateway ends.
        streams: How many of them are answered by streams.
    """

    def __init__(self, observer: Observer, metrics: Metrics, patience: float) -> None:
        self.observer = observer
        self.waits = CallerWaits(patience)
        self.draining = False
        self.streams = 0
        metrics.watch("calls_in_flight", "Calls that are being served.", lambda: len(self.waits.calls))
        metrics.watch("streams_in_flight", "Those that are answered by streams.", lambda: self.streams)
        metrics.watch("messages_waiting", "Messages that wait for readers.", lambda: self.waits.messages)
        metrics.watch("messages_waiting_bytes", "How large they are together.", lambda: self.waits.unsent)

    def tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that run them."""
        return [call.task for call in self.waits.calls]


class ServedCall:
    """A call that is served, as a context manager.

    It begins with nothing that could fail, so that whatever fails inside is told of.

    Args:
        calls: All of them.
        method: Its full name.
        context: What gRPC knows of it.
        is_stream: Whether it is answered by a stream.
    """

    def __init__(self, calls: ServedCalls, method: str, context: Context, *, is_stream: bool) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self.waits_since = 0.0
        self.unsent = 0
        self._calls = calls
        self._method = method
        self._context = context
        self._is_stream = is_stream
        self._is_read = self._is_answered = False
        self._call: Call | None = None
        self._ended_by: Cause | None = None
        calls.waits.add(self)
        calls.streams += is_stream
        task.add_done_callback(self._leave)

    async def __aenter__(self) -> Self:
        return self

    def begin(self) -> None:
        """Begin the call's record, and name it in its trailers."""
        metadata = arrived_with.get(None)
        if metadata is None:
            metadata = self._context.invocation_metadata() or ()
        self._call = self._calls.observer.begin(self._method, metadata)
        self._context.set_trailing_metadata(((REQUEST_ID, self._call.request_id),))

    async def read_one(self) -> bytes:
        """Return the request of a method that takes exactly one. A further one is not looked for: that is dear.

        Raises:
            GatewayError: REQUEST_MISSING.
        """
        assert self._call is not None
        message: Any = await self._context.read()
        if message is grpc.aio.EOF:
            await asyncio.sleep(CANCELLATION_LAG)
            raise GatewayError(REQUEST_MISSING)
        self.waits_since = 0.0
        self._is_read = True
        self._call.received = len(message)
        return message  # type: ignore[no-any-return] # bytes, where gRPC is given nothing that reads them

    def read_any(self) -> None:
        """Leave it to the servicer to read requests, and to wait for them."""
        self.waits_since = 0.0
        self._is_read = True

    async def write(self, message: bytes) -> None:
        """Send one message of a stream; return when gRPC has it on its way."""
        call = self._call
        assert call is not None
        if call.sent is None:
            call.sent = 0
            # Else a status behind a message that nobody takes is refused by gRPC.
            await self._context.send_initial_metadata(())
        self._send(message)
        await self._context.write(message)
        self._note_taken()
        call.sent += len(message)

    def reply(self, message: bytes) -> None:
        """Tell of the only message, which gRPC sends as soon as the servicer has ended.

        Raises:
            GatewayError: SLOW_READER: too much waits on this connection already.
        """
        assert self._call is not None
        if self._calls.waits.is_full_for(self):
            raise GatewayError(SLOW_READER, message="too many replies on this connection wait to be read: read them")
        self._call.sent = len(message)
        self._is_answered = True
        self._send(message)

    def _send(self, message: bytes) -> None:
        waits = self._calls.waits
        self.waits_since, self.unsent = waits.now, len(message) + PREFIX
        waits.messages += 1
        waits.unsent += self.unsent

    def _note_taken(self) -> None:
        waits = self._calls.waits
        waits.messages -= 1
        waits.unsent -= self.unsent
        self.waits_since, self.unsent = 0.0, 0

    def peer(self) -> str:
        """Return the connection that it came on."""
        return self._context.peer()

    def run_out(self) -> bool:
        """End the call: its caller did not read or write in time."""
        if self._is_answered:
            self._calls.observer.drop(self._method)
            return True
        self._ended_by = SLOW_READER if self._is_read else REQUEST_TIMEOUT
        self.task.cancel()
        return False

    async def __aexit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell of it, and end a failed call with a status unless grpc ends it by itself."""
        call = self._call or begin_call(self._method, (), NoTracing())
        error = self._error_for(exception, call) if exception else None
        code = error.cause.code if error else code_of(exception, self._context)
        try:
            self._calls.observer.end(call, code, error, lambda: peer_name(self._context))
        except Exception:  # noqa: BLE001 - nothing that only tells of a call may fail it
            _log.exception("call %s is not in metrics, log and traces in full", call.request_id)
        if error is not None:
            self._is_answered = True
            self.waits_since = self._calls.waits.now
            await abort(self._context, error, call.request_id)

    def _leave(self, _: asyncio.Task[Any]) -> None:
        if self.unsent:
            self._note_taken()
        self._calls.waits.calls.discard(self)
        self._calls.streams -= self._is_stream

    def _error_for(self, exception: BaseException, call: Call) -> GatewayError | None:
        ended_by = self._ended_by or (GATEWAY_DRAINING if self._calls.draining else None)
        is_cancelled = self.task.cancelling() > 0
        return error_for(exception, self._context, call.request_id, ended_by=ended_by, is_cancelled=is_cancelled)
