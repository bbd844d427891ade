"""What is counted and measured, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """The metrics of one gateway.

    Attributes:
        registry: All of them.
        reloads: Files read again, by what they hold (`what`) and by `result`: `ok` or `error`.
        certificate_end: When the certificate in use ends, by what it is for (`what`).
        token_renewals: Tokens asked of IAM, by `result`: `ok`, or the reason of the failure.
        token_end: When the token in use ends; 0 while there is none.
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
        self.token_end = Gauge(
            "swr_gateway_token_expiry_timestamp_seconds",
            "When the IAM token in use ends; 0 while there is none.",
            registry=self.registry,
        )
