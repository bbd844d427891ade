"""The limiter, circuits and retry budgets of one upstream, together."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.circuits import Circuits
from gateway.core.retry import RetryBudget
from gateway.core.tenants import Tenants
from gateway.reliability.limiter import ConcurrencyLimiter


@dataclass(frozen=True, slots=True)
class ResiliencePolicy:
    """The limits of requests to the upstream.

    Attributes:
        tenants: Whose credentials calls use.
        limiter: How many requests it gets at once.
        circuits: Whether it gets any.
        budget: How many requests of all tenants are sent again.
        silent: How many requests are sent again because a kept connection was silent for the time of an attempt.
        retries: How often one request is sent again at the most.
        fair_time: Seconds without an answer that make a time-out of a request which `--timeout` cuts off.
    """

    tenants: Tenants
    limiter: ConcurrencyLimiter
    circuits: Circuits
    budget: RetryBudget
    silent: RetryBudget
    retries: int
    fair_time: float
