"""When a request that failed is sent again: by its cause, by what time is left, and within a budget."""

from __future__ import annotations

import random

from gateway.core.errors import GatewayError, Retry

# Full jitter: from nothing to the first backoff, doubled with each attempt, up to the last.
FIRST_BACKOFF = 0.05
LAST_BACKOFF = 1.0
# Less than this is not enough for a request to be answered, so it is not begun.
MIN_TIME = 0.005


def delay_before_retry(error: GatewayError, attempts: int, retries: int, remaining: float) -> float | None:
    """Return the seconds after which to send a request again; None where its failure is the answer.

    Args:
        error: Why it failed.
        attempts: How often it was sent.
        retries: How often it may be sent again in all.
        remaining: Seconds that are left to the call.
    """
    match error.cause.retry:
        case Retry.NEVER:
            return None
        case Retry.ONCE:
            retries = min(retries, 1)
        case Retry.IF_RETRY_AFTER if error.retry_after is None:
            return None
    if attempts > retries:
        return None
    # Those who were told to wait together do not come back together.
    delay = (error.retry_after or 0.0) + backoff(attempts)
    return delay if delay + MIN_TIME <= remaining else None


def backoff(attempts: int) -> float:
    """Return a random time to wait after so many attempts, 1 or more."""
    return random.uniform(0.0, min(FIRST_BACKOFF * 2.0 ** min(attempts - 1, 16), LAST_BACKOFF))


# Ten tenths are a little less than one.
_ROUNDING = 1e-6


class RetryBudget:
    """A token bucket that keeps retries from multiplying the load of an upstream in trouble.

    Each call puts a tenth of a token in, each second a whole one, and each retry takes one out. So
    there is no more than one retry to ten calls, but for what lets a service with few calls retry at all.

    Args:
        now: Seconds, on the clock that the other methods are told the time of.
        most: Retries that may be sent at once; ten by default.
    """

    __slots__ = ("_at", "_most", "_tokens")

    PER_CALL = 0.1
    PER_SECOND = 1.0
    MOST = 10.0

    def __init__(self, now: float, most: float | None = None) -> None:
        self._tokens = self._most = self.MOST if most is None else most
        self._at = now

    def note_call(self) -> None:
        """Count a call."""
        self._tokens = min(self._tokens + self.PER_CALL, self._most)

    def take(self, now: float) -> bool:
        """Tell whether a retry may be sent, and count it if so."""
        self._tokens, self._at = self.tokens(now), now
        if not self.has_some(now):
            return False
        self._tokens = max(self._tokens - 1.0, 0.0)
        return True

    def has_some(self, now: float) -> bool:
        """Tell whether a retry may be sent, and count nothing."""
        return self.tokens(now) >= 1.0 - _ROUNDING

    def tokens(self, now: float) -> float:
        """Return how many retries may be sent at once."""
        return min(self._tokens + (now - self._at) * self.PER_SECOND, self._most)


class CommonRetryBudget(RetryBudget):
    """Bounds the retries of all tenants together, each of whom has a budget of its own.

    It holds what ten tenants save up, and gains what ten gain by time, so that none can spend what others retry with.
    """

    __slots__ = ()

    PER_SECOND = 10.0
    MOST = 100.0


def take_from_both(own: RetryBudget, common: RetryBudget, now: float) -> bool:
    """Tell whether a tenant's retry may be sent, and count it in both budgets if so."""
    return own.has_some(now) and common.take(now) and own.take(now)
