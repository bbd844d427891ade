"""Tells metrics and traces of each request to the upstream, once it has ended."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from gateway.core.errors import UPSTREAM_CONNECTION_LOST, UPSTREAM_TIMEOUT
from gateway.metrics import Metrics
from gateway.telemetry.tracing import AttemptTrace
from gateway.upstream.session import host_and_port

# Results in metrics that are no reasons of failures.
ANSWERED = "ok"
CUT_OFF = "CUT_OFF"

_STATUSES = frozenset(int(status) for status in HTTPStatus)


class AttemptObserver:
    """Told of each request that was sent.

    Args:
        origin: Where they are sent to.
        metrics: Where they are counted.
    """

    def __init__(self, origin: str, metrics: Metrics) -> None:
        self._host, self._port = host_and_port(origin)
        self._metrics = metrics
        self._known_series: dict[tuple[int, str], tuple[Any, Any]] = {}
        for cause in (UPSTREAM_CONNECTION_LOST, UPSTREAM_TIMEOUT):
            metrics.resends.labels(cause.reason)

    def end(self, status: int, result: str, seconds: float, trace: AttemptTrace) -> None:
        """End one.

        Args:
            status: HTTP status of its answer; 0 for none.
            result: ANSWERED, CUT_OFF, or the reason of its failure.
            seconds: How long it took.
            trace: Its span.
        """
        trace.end(status, _reason_of(result))
        attempts, duration = self._series(status, result)
        attempts.inc()
        duration.observe(seconds)

    def _series(self, status: int, result: str) -> tuple[Any, Any]:
        """Return where a request is counted and observed; to look it up by labels each time is dearer."""
        series = self._known_series.get((status, result))
        if series is None:
            duration = self._metrics.request_seconds.labels(
                "GET", self._host, str(self._port), _label_of(status), _reason_of(result)
            )
            series = self._known_series[status, result] = self._metrics.attempts.labels(result), duration
        return series


def _reason_of(result: str) -> str:
    """Return why a request failed; empty where it did not."""
    return "" if result == ANSWERED else result


def _label_of(status: int) -> str:
    """Return a status for metrics: an upstream can make up hundreds of them."""
    if not status:
        return ""
    return str(status) if status in _STATUSES else f"{status // 100}xx"
