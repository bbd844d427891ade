"""One log line a call: who called what, what became of it, and where the time went.

No bodies, no filters, no credentials: what a line tells is listed here. Floods are cut to a few lines a second, so that
a log that is slow or dear is not what ends a service.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from google.rpc import code_pb2

from gateway.core.errors import GatewayError
from gateway.metrics import Metrics
from gateway.telemetry.call import Call

_log = logging.getLogger(__name__)

# Lines a second, of calls that succeeded and of calls that failed each, and how many at once.
PER_SECOND = 50.0
AT_ONCE = 200.0


class Allowance:
    """A rate limit for lines, which counts those that it dropped.

    Args:
        now: Seconds, on any clock that does not go back.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._left = AT_ONCE
        self._at = now()
        self._dropped = 0

    def take(self) -> int | None:
        """Return how many lines were dropped before this one; None to drop this one too."""
        now = self._now()
        self._left = min(self._left + (now - self._at) * PER_SECOND, AT_ONCE)
        self._at = now
        if self._left < 1.0:
            self._dropped += 1
            return None
        self._left -= 1.0
        dropped, self._dropped = self._dropped, 0
        return dropped


class AccessLog:
    """Writes the lines.

    Args:
        metrics: Where those are counted that are not written.
        now: Seconds, on any clock that does not go back.
    """

    def __init__(self, metrics: Metrics, now: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._succeeded = Allowance(now)
        self._failed = Allowance(now)

    def write(
        self, call: Call, seconds: float, code: int, error: GatewayError | None, caller: Callable[[], str], level: int
    ) -> None:
        """Write a line.

        Args:
            call: What it is about.
            seconds: How long it took.
            code: A number of google.rpc.Code.
            error: Why it failed, where we know.
            caller: Returns what the caller's certificate calls it.
            level: Of severity.
        """
        if not _log.isEnabledFor(level):
            return
        dropped = (self._failed if code else self._succeeded).take()
        if dropped is None:
            self._metrics.access_log_dropped.inc()
            return
        fields = {
            **_outcome(call, code, error),
            "duration_ms": _milliseconds(seconds),
            **_work(call),
            "caller": caller(),
            "request_id": call.request_id,
            "trace_id": call.trace.trace_id,
            "dropped": dropped,
        }
        _log.log(
            level, "call", extra={"fields": {name: value for name, value in fields.items() if value not in ("", 0)}}
        )


def _outcome(call: Call, code: int, error: GatewayError | None) -> dict[str, Any]:
    return {
        "method": call.method,
        "code": code_pb2.Code.Name(code),
        "reason": error.cause.reason if error else "",
        "phase": error.phase if error else "",
        "detail": error.detail if error else "",
        "upstream_code": error.upstream_code if error else "",
        "upstream_request_id": error.upstream_request_id if error else "",
        "rows": call.rows,
        "from_cache": call.from_cache.status.value if call.from_cache else "",
    }


def _work(call: Call) -> dict[str, Any]:
    timings = call.timings
    return {
        "queue_ms": _milliseconds(timings.queued.seconds),
        "upstream_ms": _milliseconds(timings.fetching.seconds),
        "conversion_ms": _milliseconds(timings.converting.seconds),
        "attempts": timings.attempts,
        "upstream_status": timings.status,
    }


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
