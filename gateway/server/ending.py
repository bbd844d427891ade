"""Ends a call: which failure an exception is, and the status that the caller gets."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2

from gateway.core.errors import (
    CALL_CANCELLED,
    DEADLINE_EXCEEDED,
    GATEWAY_DRAINING,
    GATEWAY_INTERNAL,
    UNREADABLE_REQUEST,
    Cause,
    GatewayError,
)
from gateway.core.rpc_status import to_rpc_status
from gateway.server.lost_answers import is_lost
from gateway.telemetry.call import REQUEST_ID

_log = logging.getLogger(__name__)

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

# Seconds. A caller's clock begins before ours, and cancels the call a moment before ours has run out.
CLOCK_LEAD = 0.05

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_NUMBERS = {code: number for number, code in _CODES.items()}


def error_for(
    exception: BaseException, context: Context, request_id: str, *, ended_by: Cause | None, is_cancelled: bool
) -> GatewayError | None:
    """Return what the caller is told of an exception; None for those that are grpc's own way to end a call.

    Args:
        exception: What ended the servicer.
        context: Of the call.
        request_id: Its name in the log.
        ended_by: Why the gateway itself ended it, where it did.
        is_cancelled: Whether its task was cancelled.
    """
    match exception:
        case GatewayError():
            return exception
        case grpc.aio.AbortError():
            return None
        case DecodeError():
            return GatewayError(UNREADABLE_REQUEST)
        case asyncio.CancelledError() if ended_by:
            return GatewayError(ended_by)
        case asyncio.CancelledError() if is_cancelled:
            # The caller has gone, or its deadline has passed, and nobody hears the answer. `context.cancelled()` is not
            # asked: it becomes true only after the handler has ended.
            return GatewayError(DEADLINE_EXCEEDED if _is_late(context) else CALL_CANCELLED)
        case Exception() if is_lost(exception):  # a message of a stream
            return GatewayError(DEADLINE_EXCEEDED if _is_late(context) else CALL_CANCELLED)
        case Exception() if _is_of_stopped_server(exception):
            return GatewayError(GATEWAY_DRAINING)
        case asyncio.CancelledError() | Exception():
            _log.error("call %s failed", request_id, exc_info=exception)
            return GatewayError(GATEWAY_INTERNAL)
        case _:
            return None


def code_of(exception: BaseException | None, context: Context) -> int:
    """Return the status of a call that grpc ends: the one it was given, or none that anybody saw."""
    if exception is None or isinstance(exception, grpc.aio.AbortError):
        code: grpc.StatusCode | None = context.code()  # the stubs do not know that there may be none
        return _NUMBERS[grpc.StatusCode.OK if code is None else code]
    return int(code_pb2.CANCELLED)


async def abort(context: Context, error: GatewayError, request_id: str) -> None:
    """End a call with a failure, everything in one `abort`: `abort_with_status` would drop the pushback."""
    status = to_rpc_status(error, request_id, context.time_remaining())
    trailers: list[tuple[str, str | bytes]] = [(REQUEST_ID, request_id), ("grpc-status-details-bin", status.details)]
    if status.pushback_ms is not None:
        trailers.append(("grpc-retry-pushback-ms", str(status.pushback_ms)))
    await context.abort(_CODES[status.code], status.message, tuple(trailers))


def _is_late(context: Context) -> bool:
    remaining: float | None = context.time_remaining()  # the stubs do not know that a caller may set none
    return remaining is not None and remaining <= CLOCK_LEAD


def _is_of_stopped_server(error: Exception) -> bool:
    """Tell whether gRPC raised it because the server had stopped, as for a call that was handed over meanwhile."""
    return type(error).__name__ == "_ServerStoppedError"  # which no public module has
