"""The interface of traces, for calls and for requests to the upstream; with versions that record nothing.

Where no exporter is named there are no spans, and a caller's trace goes upstream as it came; the spans are made in
gateway.telemetry.spans.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol

from gateway.core.trace_context import TraceContext, read_trace_context
from gateway.settings.environment import TRACES_EXPORTER
from gateway.start_errors import TracingError


class AttemptTrace(Protocol):
    """One request to the upstream."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What it carries."""
        ...

    def end(self, status: int, reason: str) -> None:
        """End it, with the upstream's HTTP status (0 for none) and the reason of its failure (empty for none)."""
        ...


class CallTrace(Protocol):
    """One call."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; empty where it is part of no trace."""
        ...

    @property
    def sampled(self) -> bool:
        """Whether that trace is recorded, so that somebody may look it up."""
        ...

    def begin_attempt(self, target: str, resent: int) -> AttemptTrace:
        """Begin a request to the upstream, which was sent so many times before."""
        ...

    def end(self, code: int, reason: str) -> None:
        """End it, with its gRPC status and the reason of its failure (empty for none)."""
        ...


class Tracing(Protocol):
    """Traces calls."""

    def begin_call(self, method: str, metadata: Mapping[str, str], request_id: str) -> CallTrace:
        """Begin a call."""
        ...

    def close(self) -> None:
        """Send what is left; blocks for seconds where the receiver does not answer."""
        ...


class PassedOn:
    """A caller's trace, without spans of ours: what goes upstream is what came."""

    __slots__ = ("headers", "sampled", "trace_id")

    def __init__(self, context: TraceContext) -> None:
        self.trace_id, self.headers, self.sampled = context

    def begin_attempt(self, target: str, resent: int) -> PassedOn:
        """Return the same."""
        return self

    def end(self, status: int, reason: str) -> None:
        """Do nothing."""


class NoTracing:
    """Makes no spans."""

    def begin_call(self, method: str, metadata: Mapping[str, str], request_id: str) -> CallTrace:
        """Return the caller's trace."""
        return PassedOn(read_trace_context(metadata))

    def close(self) -> None:
        """Do nothing."""


def open_tracing(origin: str) -> Tracing:
    """Return what traces calls, as OpenTelemetry's own variables say.

    Args:
        origin: The upstream's scheme, host and port, which spans tell.

    Raises:
        TracingError: They say what cannot be done.
    """
    if os.environ.get(TRACES_EXPORTER) != "otlp" or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return NoTracing()
    from gateway.telemetry.spans import Spans  # noqa: PLC0415 - an extra, which may not be installed

    try:
        return Spans(origin)
    except Exception as error:
        raise TracingError(f"{type(error).__name__}: {error}") from error
