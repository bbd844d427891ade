"""What is counted and measured, for Prometheus.

Calls are named and cut into buckets as gRFC A66 says (https://github.com/grpc/proposal/blob/master/A66-otel-stats.md),
requests to the upstream as OpenTelemetry's conventions for HTTP clients do; docs/metrics.md explains all of them.
Labels are of few values, whatever callers or upstreams send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias

import msgspec
import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.stderr import dropped_lines

# How the numbers of several processes are read as one; `live...` are for gauges, which say nothing of one that ended.
Together: TypeAlias = Literal["sum", "livesum", "livemax", "livemin"]

# Those of gRFC A66.
_CALL_SECONDS = (
    *(0, 0.00001, 0.00005, 0.0001, 0.0003, 0.0006, 0.0008, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008),
    *(0.01, 0.013, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5),
    *(0.65, 0.8, 1, 2, 5, 10, 20, 50, 100),
)
_MESSAGE_BYTES = (0, *(1024 * 2**power for power in (0, 1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22)))
# Those of OpenTelemetry's `http.client.request.duration`.
_REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_CONVERSION_SECONDS = (0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1)
_LAG_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)

# The time at which each series began doubles the page and tells nothing.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call] # the library has no type for it


class Family(msgspec.Struct, frozen=True, array_like=True):
    """A metric as it stands, to be sent to another process.

    Attributes:
        name: Its name, without the endings of samples.
        text: What it is.
        kind: As the library calls it: `counter`, `gauge`, `histogram`.
        together: How the numbers of several processes are one.
        samples: Names, labels and values.
    """

    name: str
    text: str
    kind: str
    together: Together
    samples: tuple[tuple[str, tuple[tuple[str, str], ...], float], ...]


class Metrics:
    """The metrics of one gateway.

    Args:
        alone: Whether no other process is read as one with this: what the system tells of the process is shown then.

    Attributes:
        registry: All of them.
        calls_started: Calls, by `grpc_method`.
        call_seconds: How long they took, by `grpc_method` and `grpc_status`.
        call_sent_bytes: What was sent in one, likewise.
        call_received_bytes: What was received in one, likewise.
        call_failures: Those that failed, by `grpc_method` and `reason`.
        last_failure: When the last call of our own service failed, by `reason`.
        request_seconds: How long requests to the upstream took.
        conversion_seconds: How long the processor was busy with the conversion of one page.
        rows: Repositories that were listed.
        loop_lag_seconds: How much later than asked for the event loop went on.
        calls_dropped: Those whose callers took neither reply nor status, by `grpc_method`.
        answers_lost: Answers whose callers had gone before they were sent.
        access_log_dropped: Calls that have no line in the log, because there were too many.
        reloads: Files read again, by what they hold (`what`) and by `result`: `ok` or `error`.
        files_stale: Whether the files of `what` cannot be used, so that what they held before is.
        certificate_end: When the certificate in use ends, by what it is for (`what`).
        token_renewals: Tokens asked of IAM, by `result`: `ok`, or the reason of the failure.
        attempts: Requests to the upstream that have ended, by `result`: `ok`, the reason of the failure, or `CUT_OFF`
            where nobody waited for them any more.
        retries: Those that were sent again, by the reason (`cause`) of the failure before.
        resends: Those that were sent again over a fresh connection because a kept one was stale, by the `cause`.
        discarded: Kept connections that were closed because something arrived on them without a request.
        retries_refused: Those that were not, because the budget was spent.
        coalesced_calls: Calls that joined the upstream request of an identical one.
        cached_pages: Replies that were remembered ones, by `how`: `hit` or `stale`.
    """

    def __init__(self, *, alone: bool = True) -> None:
        self.registry = CollectorRegistry()
        self._together: dict[str, Together] = {}
        if alone:
            ProcessCollector(registry=self.registry)
        self._describe_calls()
        self._describe_requests()
        self._describe_ourselves()

    def watch(self, name: str, text: str, read: Callable[[], float], together: Together = "livesum") -> None:
        """Show a number that is asked for.

        Args:
            name: What it is called behind `swr_gateway_`.
            text: What it is.
            read: Returns it; called from any thread.
            together: How the numbers of several processes are one.
        """
        self._gauge(name, text, together).set_function(read)

    def families(self) -> tuple[Family, ...]:
        """Return all metrics as they stand."""
        return tuple(_read(metric, self._together.get(metric.name, "sum")) for metric in self.registry.collect())

    def _describe_calls(self) -> None:
        call = ("grpc_method", "grpc_status")
        self.calls_started = self._counter("grpc_server_call_started", "Calls.", "grpc_method")
        self.call_seconds = self._histogram(
            "grpc_server_call_duration_seconds", "Time from a call's arrival to its end.", _CALL_SECONDS, *call
        )
        self.call_sent_bytes = self._histogram(
            "grpc_server_call_sent_total_compressed_message_size_bytes", "Sent in one call.", _MESSAGE_BYTES, *call
        )
        self.call_received_bytes = self._histogram(
            "grpc_server_call_rcvd_total_compressed_message_size_bytes", "Received in one call.", _MESSAGE_BYTES, *call
        )
        self.call_failures = self._counter("swr_gateway_call_failures", "Calls that failed.", "grpc_method", "reason")
        self.last_failure = self._gauge(
            "last_failure_timestamp_seconds", "When the last call failed so.", "livemax", "reason"
        )
        self.calls_dropped = self._counter(
            "swr_gateway_calls_dropped", "Calls whose callers took neither reply nor status.", "grpc_method"
        )
        self.answers_lost = self._counter(
            "swr_gateway_answers_lost", "Answers whose callers had gone before they were sent."
        )
        self.access_log_dropped = self._counter(
            "swr_gateway_access_log_dropped", "Calls without a line in the log, because there were too many."
        )

    def _describe_requests(self) -> None:
        self.request_seconds = self._histogram(
            "http_client_request_duration_seconds",
            "Time of one request to the upstream.",
            _REQUEST_SECONDS,
            "http_request_method",
            "server_address",
            "server_port",
            "http_response_status_code",
            "error_type",
        )
        self.attempts = self._counter("swr_gateway_upstream_attempts", "Requests to the upstream.", "result")
        self.retries = self._counter("swr_gateway_upstream_retries", "Requests that were sent again.", "cause")
        self.retries_refused = self._counter(
            "swr_gateway_upstream_retries_refused", "Requests that were not sent again, because the budget was spent."
        )
        self.resends = self._counter(
            "swr_gateway_upstream_resends",
            "Requests sent again over a fresh connection: a kept one was stale.",
            "cause",
        )
        self.discarded = self._counter(
            "swr_gateway_upstream_discarded_connections", "Kept connections on which something arrived unasked."
        )
        self.coalesced_calls = self._counter(
            "swr_gateway_coalesced_calls", "Calls that joined the request of an identical one."
        )
        self.cached_pages = self._counter("swr_gateway_cached_pages", "Replies that were remembered ones.", "how")
        self.token_renewals = self._counter("swr_gateway_token_renewals", "Tokens asked of IAM.", "result")

    def _describe_ourselves(self) -> None:
        self.conversion_seconds = self._histogram(
            "swr_gateway_conversion_duration_seconds", "Processor's time for one page.", _CONVERSION_SECONDS
        )
        self.rows = self._counter("swr_gateway_rows", "Repositories that were listed.")
        self.registry.register(_LinesDropped())
        self.loop_lag_seconds = self._histogram(
            "swr_gateway_event_loop_lag_seconds", "How late the event loop went on.", _LAG_SECONDS
        )
        self.reloads = self._counter("swr_gateway_file_reloads", "Files read again after a change.", "what", "result")
        self.files_stale = self._gauge(
            "file_stale", "1 while files cannot be used and the last good ones are.", "livemax", "what"
        )
        self.certificate_end = self._gauge(
            "certificate_expiry_timestamp_seconds", "When the certificate in use ends.", "livemin", "what"
        )
        build = self._gauge("build_info", "1; the label tells the version.", "livemax", "version")
        build.labels(__version__).set(1)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, together: Together, *labels: str) -> Gauge:
        self._together[f"swr_gateway_{name}"] = together
        return Gauge(f"swr_gateway_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)


class _LinesDropped(Collector):
    """What the thread that writes log lines counts: it has no part in locks of the library's."""

    def collect(self) -> Iterable[Metric]:
        """Return how many lines this process has dropped."""
        text = "Log lines that were dropped, because nobody read standard error."
        yield CounterMetricFamily("swr_gateway_log_lines_dropped", text, value=dropped_lines())


def supervisor_families() -> tuple[Family, ...]:
    """Return the metrics that a process has which serves nothing."""
    return tuple(_read(metric, "sum") for metric in _LinesDropped().collect())


def _read(metric: Metric, together: Together) -> Family:
    samples = ((sample.name, tuple(sample.labels.items()), sample.value) for sample in metric.samples)
    return Family(metric.name, metric.documentation, metric.type, together, tuple(samples))
