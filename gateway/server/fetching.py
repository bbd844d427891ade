"""One page from the upstream: the sign-in, a turn, the circuit, the request, and others where that one failed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from google.rpc import code_pb2

from gateway.core.breaker import Breaker, Outcome
from gateway.core.errors import (
    CREDENTIAL_UNAVAILABLE,
    GATEWAY_OVERLOADED,
    UPSTREAM_CIRCUIT_OPEN,
    UPSTREAM_TIMEOUT,
    GatewayError,
)
from gateway.core.retry import RetryBudget, delay_before_retry
from gateway.core.tokens import says_expired
from gateway.credentials.base import Credential, SignIn
from gateway.metrics import Metrics
from gateway.reliability.progress import Progress
from gateway.reliability.turns import Turns
from gateway.server.call import Call
from gateway.upstream.client import Answer, UpstreamClient


@dataclass(frozen=True, slots=True)
class Protection:
    """What stands between calls and an upstream that has trouble: one for each upstream.

    Attributes:
        turns: How many requests it gets at once.
        breaker: Whether it is left alone.
        budget: How many requests are sent again.
        retries: How often one request is sent again at the most.
    """

    turns: Turns
    breaker: Breaker
    budget: RetryBudget
    retries: int


class PageFetcher:
    """Fetches pages.

    Args:
        upstream: Where they are.
        credential: Signs each request in.
        protection: Of the upstream.
        metrics: Where attempts are counted.
    """

    def __init__(
        self, upstream: UpstreamClient, credential: Credential, protection: Protection, metrics: Metrics
    ) -> None:
        self._upstream = upstream
        self._credential = credential
        self._protection = protection
        self._metrics = metrics
        self._answered = metrics.attempts.labels("ok")

    async def fetch(self, target: str, call: Call, progress: Progress) -> Answer:
        """Fetch one page, by as many requests as make sense.

        A request whose token the upstream calls expired is sent once more with a new one: what that is answered is the
        answer, for a cloud locks out who goes on trying.

        Args:
            target: Path and query.
            call: On whose behalf.
            progress: Kept up to date; who waits for the page watches the time.

        Raises:
            GatewayError: There is no page, for any reason: the last that was met.
        """
        self._protection.budget.note_call()
        while True:
            progress.waiting_for, progress.phase = CREDENTIAL_UNAVAILABLE, ""
            sign_in = await self._credential.sign_in(target, call.metadata)
            try:
                return await self._attempt(target, call, sign_in, progress)
            except GatewayError as error:
                error.attempts = progress.attempts
                progress.failure = error
                delay = await self._delay_before_retry(error, sign_in, progress)
                if delay is None:
                    raise
            await asyncio.sleep(delay)

    async def _delay_before_retry(self, error: GatewayError, sign_in: SignIn, progress: Progress) -> float | None:
        """Return the seconds after which to send the request again; None where the failure is the answer."""
        if says_expired(error) and not progress.renewed:
            progress.renewed = True
            return None if await self._credential.renew(sign_in) is None else 0.0
        now = asyncio.get_running_loop().time()
        delay = delay_before_retry(error, progress.attempts, self._protection.retries, progress.ends - now)
        if delay is None:
            return None
        if not self._protection.budget.take(now):
            self._metrics.retries_refused.inc()
            return None
        self._metrics.retries.labels(error.cause.reason).inc()
        return delay

    async def _attempt(self, target: str, call: Call, sign_in: SignIn, progress: Progress) -> Answer:
        turns = self._protection.turns
        progress.waiting_for, progress.phase = GATEWAY_OVERLOADED, "queue"
        await turns.take()
        try:
            return await self._through_circuit(target, call, sign_in, progress)
        finally:
            turns.give_back()

    async def _through_circuit(self, target: str, call: Call, sign_in: SignIn, progress: Progress) -> Answer:
        breaker, now = self._protection.breaker, asyncio.get_running_loop().time
        ticket = breaker.admit(now())
        if ticket is None:
            raise GatewayError(UPSTREAM_CIRCUIT_OPEN, retry_delay=breaker.remaining(now()))
        outcome = Outcome.NOTHING
        progress.attempts += 1
        progress.waiting_for = UPSTREAM_TIMEOUT
        try:
            answer = await self._upstream.get(
                target, request_id=call.request_id, headers=sign_in.headers, secrets=sign_in.secrets, progress=progress
            )
            outcome = Outcome.ANSWERED
        except GatewayError as error:
            outcome = Outcome.UNAVAILABLE if error.cause.code == code_pb2.UNAVAILABLE else Outcome.ANSWERED
            self._metrics.attempts.labels(error.cause.reason).inc()
            raise
        finally:
            breaker.settle(ticket, outcome, now())
        self._answered.inc()
        return answer
