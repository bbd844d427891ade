"""What is counted and measured, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """The metrics of one gateway.

    Attributes:
        registry: All of them.
        reloads: Files read again, by what they hold (`what`) and by `result`: `ok` or `error`.
        certificate_end: When the certificate in use ends, by what it is for (`what`).
        token_renewals: Tokens asked of IAM, by `result`: `ok`, or the reason of the failure.
        attempts: Requests to the upstream that have ended, by `result`: `ok`, the reason of the failure, or `CUT_OFF`
            where nobody waited for them any more.
        retries: Those that were sent again, by the reason (`cause`) of the failure before.
        retries_refused: Those that were not, because the budget was spent.
        shared_calls: Calls that joined the upstream request of an identical one.
        cached_pages: Replies that were remembered ones, by `how`: `hit` or `stale`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reloads = Counter(
            "swr_gateway_file_reloads", "Files read again after a change.", ("what", "result"), registry=self.registry
        )
        self.certificate_end = Gauge(
            "swr_gateway_certificate_expiry_timestamp_seconds",
            "When the certificate in use ends.",
            ("what",),
            registry=self.registry,
        )
        self.token_renewals = Counter(
            "swr_gateway_token_renewals", "Tokens asked of IAM.", ("result",), registry=self.registry
        )
        self.attempts = Counter(
            "swr_gateway_upstream_attempts", "Requests to the upstream.", ("result",), registry=self.registry
        )
        self.retries = Counter(
            "swr_gateway_upstream_retries", "Requests that were sent again.", ("cause",), registry=self.registry
        )
        self.retries_refused = Counter(
            "swr_gateway_upstream_retries_refused",
            "Requests that were not sent again, because the budget was spent.",
            registry=self.registry,
        )
        self.shared_calls = Counter(
            "swr_gateway_shared_calls", "Calls that joined the request of an identical one.", registry=self.registry
        )
        self.cached_pages = Counter(
            "swr_gateway_cached_pages", "Replies that were remembered ones.", ("how",), registry=self.registry
        )

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Show a number that is read when somebody looks."""
        Gauge(f"swr_gateway_{name}", text, registry=self.registry).set_function(read)
