"""What operators get to know of calls: metrics, a line in the log, and spans."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from google.rpc import code_pb2

from gateway.core.errors import GATEWAY_OVERLOADED, GatewayError
from gateway.core.service import METHODS, SERVICE_NAME
from gateway.metrics import Metrics
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.call import Call, begin_call
from gateway.telemetry.tracing import NoTracing, Tracing

# Statuses that are the service's fault.
FAULTS = (
    code_pb2.UNAVAILABLE,
    code_pb2.DEADLINE_EXCEEDED,
    code_pb2.INTERNAL,
    code_pb2.UNKNOWN,
    code_pb2.DATA_LOSS,
)

# A method that nobody serves: its name is the caller's to choose, and no label.
OTHER = "other"

_OURS = f"{SERVICE_NAME}/"
_no_tracing = NoTracing()


class Observer:
    """Told of the begin and the end of each call.

    Args:
        metrics: Where they are counted.
        access_log: Where they are written down.
        tracing: Traces calls of our own service; those of health checks and of reflection would drown them.
    """

    def __init__(self, metrics: Metrics, access_log: AccessLog, tracing: Tracing) -> None:
        self._metrics = metrics
        self._access_log = access_log
        self._tracing = tracing
        self._started: dict[str, Any] = {}
        self._ended: dict[tuple[str, int], tuple[Any, Any, Any]] = {}
        # What is there from the start: Prometheus sees no increase in a series that begins with its first failure.
        for method in METHODS:
            for code in (code_pb2.OK, *FAULTS):
                metrics.call_seconds.labels(method, code_pb2.Code.Name(code))
            metrics.call_failures.labels(method, GATEWAY_OVERLOADED.reason)
            metrics.calls_dropped.labels(method)

    def begin(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> Call:
        """Begin a call of a method that is served, with its caller's metadata."""
        self._count_start(method)
        tracing = self._tracing if method.startswith(_OURS) else _no_tracing
        return begin_call(method, metadata, tracing)

    def end(self, call: Call, code: int, error: GatewayError | None, caller: Callable[[], str]) -> None:
        """End it.

        Args:
            call: The call.
            code: A number of google.rpc.Code.
            error: Why it failed, where we know.
            caller: Returns what the caller's certificate calls it.
        """
        seconds = time.perf_counter() - call.began
        duration, sent, received = self._ended_series(call.method, code)
        # From a slow bucket to a trace that is in it.
        duration.observe(seconds, {"trace_id": call.trace.trace_id} if call.trace.sampled else None)
        if call.sent is not None:
            sent.observe(call.sent)
        if call.received is not None:
            received.observe(call.received)
        self._metrics.rows.inc(call.rows)
        is_ours = call.method.startswith(_OURS)
        if error is not None:
            self._metrics.call_failures.labels(call.method, error.cause.reason).inc()
            if is_ours:
                self._metrics.last_failure.labels(error.cause.reason).set_to_current_time()
        call.trace.end(code, error.cause.reason if error else "")
        level = logging.INFO if is_ours else logging.DEBUG
        self._access_log.write(call, seconds, code, error, caller, level)

    def drop(self, method: str) -> None:
        """Count a call that was given up behind its end, because its caller took neither reply nor status."""
        self._metrics.calls_dropped.labels(method).inc()

    def unserved(self) -> None:
        """Count a call of a method that nobody serves."""
        self._count_start(OTHER)
        self._ended_series(OTHER, code_pb2.UNIMPLEMENTED)[0].observe(0.0)

    def _count_start(self, method: str) -> None:
        started = self._started.get(method)
        if started is None:
            started = self._started[method] = self._metrics.calls_started.labels(method)
        started.inc()

    def _ended_series(self, method: str, code: int) -> tuple[Any, Any, Any]:
        """Return where a call's duration and sizes are observed; to look them up by labels each time is dearer."""
        series = self._ended.get((method, code))
        if series is None:
            metrics = self._metrics
            families = (metrics.call_seconds, metrics.call_sent_bytes, metrics.call_received_bytes)
            duration, sent, received = (family.labels(method, code_pb2.Code.Name(code)) for family in families)
            series = self._ended[method, code] = duration, sent, received
        return series
