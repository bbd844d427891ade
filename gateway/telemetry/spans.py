"""OpenTelemetry's spans: one for each call, and one below it for each request to the upstream.

They are sent over OTLP/gRPC by a thread of the library's own. Its variables say where to, how many and as whose:
`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME` and so on. Names and attributes are those of
its conventions for RPC servers and HTTP clients; no span tells a filter's values or a credential.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from google.rpc import code_pb2
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway import __version__
from gateway.core.trace_context import read_trace_context
from gateway.upstream.session import host_and_port

# Seconds that a receiver has to take the last spans.
CLOSE_TIMEOUT = 3.0

# What is the service's own fault rather than the caller's.
_ERRORS = frozenset(
    {
        code_pb2.UNKNOWN,
        code_pb2.DEADLINE_EXCEEDED,
        code_pb2.UNIMPLEMENTED,
        code_pb2.INTERNAL,
        code_pb2.UNAVAILABLE,
        code_pb2.DATA_LOSS,
    }
)

# Nothing but these two headers: baggage is not the upstream's business.
_propagator = TraceContextTextMapPropagator()


class AttemptSpan:
    """The span of one request to the upstream."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.headers: dict[str, str] = {}
        _propagator.inject(self.headers, set_span_in_context(span, Context()))

    def end(self, status: int, reason: str) -> None:
        """End it."""
        if status:
            self._span.set_attribute("http.response.status_code", status)
        if reason:
            self._span.set_attribute("error.type", reason)
            self._span.set_status(StatusCode.ERROR, reason)
        self._span.end()


class CallSpan:
    """The span of a call."""

    def __init__(self, tracer: Tracer, span: Span, origin: str) -> None:
        self._tracer = tracer
        self._span = span
        self._origin = origin
        context = span.get_span_context()
        self.trace_id = f"{context.trace_id:032x}"
        self.sampled = context.trace_flags.sampled

    def begin_attempt(self, target: str, resent: int) -> AttemptSpan:
        """Begin a span below."""
        host, port = host_and_port(self._origin)
        attributes: dict[str, str | int] = {
            "http.request.method": "GET",
            "server.address": host,
            "server.port": port,
            # Without the query, which is the caller's business.
            "url.full": self._origin + target.partition("?")[0],
        }
        if resent:
            attributes["http.request.resend_count"] = resent
        parent = set_span_in_context(self._span, Context())
        return AttemptSpan(self._tracer.start_span("GET", parent, SpanKind.CLIENT, attributes))

    def end(self, code: int, reason: str) -> None:
        """End it."""
        self._span.set_attribute("rpc.grpc.status_code", code)
        if reason:
            self._span.set_attribute("error.type", reason)
        if code in _ERRORS:
            self._span.set_status(StatusCode.ERROR, reason)
        self._span.end()


class Spans:
    """Makes spans and sends them.

    Args:
        origin: The upstream's scheme, host and port.
    """

    def __init__(self, origin: str) -> None:
        ours = Resource({"service.name": "swr-gateway", "service.version": __version__})
        # The library's own name for a service without one, then ours, then what the environment says.
        resource = Resource.create().merge(ours).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("gateway", __version__)
        self._origin = origin

    def begin_call(self, method: str, metadata: Mapping[str, str], request_id: str) -> CallSpan:
        """Begin a call's span, below the caller's if it named one."""
        service, _, name = method.rpartition("/")
        attributes = {
            "rpc.system": "grpc",
            "rpc.service": service,
            "rpc.method": name,
            "swr_gateway.request_id": request_id,
        }
        parent = _propagator.extract(read_trace_context(metadata).headers, Context())
        span = self._tracer.start_span(method, parent, SpanKind.SERVER, attributes)
        return CallSpan(self._tracer, span, self._origin)

    def close(self) -> None:
        """Send what is left, if the receiver takes it in time."""
        sending = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(CLOSE_TIMEOUT)
