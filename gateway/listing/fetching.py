"""Fetches one page from the upstream, by as many requests as make sense.

Each attempt passes through the same gates, in this order: the credential signs it, the concurrency limiter grants it a
permit, the circuit lets it pass, and a connection is taken. Four rules say what happens when one fails:

- A kept connection that turns out to be stale says nothing of the upstream: the request goes out once more over a fresh
  one, at once, and neither circuit nor retry budget hears of it.
- A rejected credential is renewed once, if a newer one can be had, and the request is sent with that.
- What may be sent again is, as often as settings, budgets and the time that is left allow (gateway.core.retry).
- What cuts a request off, a caller's deadline or cancellation, is no evidence against the upstream.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from google.rpc import code_pb2

from gateway.core.breaker import Outcome
from gateway.core.errors import (
    CREDENTIAL_UNAVAILABLE,
    GATEWAY_OVERLOADED,
    UPSTREAM_CIRCUIT_OPEN,
    UPSTREAM_TIMEOUT,
    GatewayError,
)
from gateway.core.retry import MIN_TIME, delay_before_retry, take_from_both
from gateway.core.status import BUSY, CREDENTIAL_REJECTED
from gateway.core.tenants import Tenant
from gateway.credentials.base import AuthHeaders, Credential
from gateway.listing.attempts import ANSWERED, CUT_OFF, AttemptObserver
from gateway.listing.policy import ResiliencePolicy
from gateway.metrics import Metrics
from gateway.reliability import timeouts
from gateway.reliability.deadline import Deadline
from gateway.reliability.limiter import Permit
from gateway.reliability.progress import Progress
from gateway.telemetry.call import Call
from gateway.upstream.client import Answer, HeldUpError, StaleConnectionError, UpstreamClient

# Where a request could not be sent again, the answer to the one before says more.
_NOT_SENT = (GATEWAY_OVERLOADED, UPSTREAM_CIRCUIT_OPEN)


class PageFetcher:
    """Fetches pages.

    Args:
        upstream: Where they are.
        credential: Signs each request.
        policy: What limits requests to the upstream.
        metrics: Where attempts are counted.

    Attributes:
        observer: Told of each request.
        upstream, credential, policy, metrics: As given.
    """

    def __init__(
        self, upstream: UpstreamClient, credential: Credential, policy: ResiliencePolicy, metrics: Metrics
    ) -> None:
        self.upstream = upstream
        self.credential = credential
        self.policy = policy
        self.metrics = metrics
        self.observer = AttemptObserver(upstream.origin, metrics)

    def try_acquire(self, call: Call) -> Permit | None:
        """Return a permit for a page that nobody waits for yet; None where others hold or want them all."""
        return self.policy.limiter.try_acquire(self._tenant_of(call).key)

    async def fetch(self, target: str, call: Call, progress: Progress, permit: Permit | None = None) -> Answer:
        """Fetch one page.

        Args:
            target: Path and query.
            call: On whose behalf.
            progress: Kept up to date; who waits for the page watches the time.
            permit: For the first request, where it was acquired already.

        Raises:
            GatewayError: There is no page, for any reason: the last that was met.
        """
        tenant = self._tenant_of(call)
        for budget in (tenant.budget, self.policy.budget, self.policy.silent):
            budget.note_call()
        return await _Fetch(self, target, call, tenant, progress).run(permit)

    def _tenant_of(self, call: Call) -> Tenant:
        if call.tenant is None:
            key = call.identity(self.credential) if self.credential.is_callers else b""
            call.tenant = self.policy.tenants.get(key, asyncio.get_running_loop().time())
        return call.tenant


class _Fetch:
    """The attempts at one page."""

    def __init__(self, fetcher: PageFetcher, target: str, call: Call, tenant: Tenant, progress: Progress) -> None:
        self._fetcher = fetcher
        self._policy = fetcher.policy
        self._target = target
        self._call = call
        self._tenant = tenant
        self._progress = progress
        self._now = asyncio.get_running_loop().time
        self._is_renewed = False
        self._fresh_resends = 0

    async def run(self, permit: Permit | None) -> Answer:
        """Make attempts until there is a page, or a failure that is the answer."""
        progress = self._progress
        while True:
            progress.waiting_for, progress.phase = CREDENTIAL_UNAVAILABLE, ""
            auth = await self._fetcher.credential.auth_headers(self._target, self._call.metadata)
            try:
                answer = await self._attempt(auth, permit)
            except GatewayError as error:
                if error.cause in _NOT_SENT and progress.failure is not None and not progress.is_mended:
                    raise progress.failure from error
                progress.failure, progress.phase, progress.is_mended = error, "", False
                delay = await self._delay_before_retry(error, auth)
                if delay is None:
                    raise
            else:
                progress.failure, progress.phase = None, ""
                return answer
            # Answers those who coalesce with this call and would not see the end of the pause.
            progress.pause(self._now() + delay, progress.failure)
            await asyncio.sleep(delay)

    async def _delay_before_retry(self, error: GatewayError, auth: AuthHeaders) -> float | None:
        """Return the seconds after which to send the request again; None where the failure is the answer."""
        # Any 401: a token dies at once when its user's password or permissions change, and SWR, the API gateway,
        # Keystone and proxies each have other words for it, or none. What the second one is answered is the answer, for
        # a cloud locks out who goes on trying.
        if error.http_status == HTTPStatus.UNAUTHORIZED and not self._is_renewed:
            self._is_renewed = True
            if await self._has_renewed(auth, error):
                self._progress.is_mended = True
                return 0.0
        now = self._now()
        sent, remaining = self._progress.timings.attempts - self._fresh_resends, self._progress.deadline().at - now
        delay = delay_before_retry(error, sent, self._policy.retries, remaining)
        if delay is not None and not take_from_both(self._tenant.budget, self._policy.budget, now):
            self._fetcher.metrics.retries_refused.inc()
            return None
        return delay

    async def _has_renewed(self, rejected: AuthHeaders, error: GatewayError) -> bool:
        """Tell whether there is a new credential to try once more with."""
        try:
            return await self._fetcher.credential.renew(rejected) is not None
        except GatewayError:
            if error.cause is CREDENTIAL_REJECTED:
                raise
            return False  # the answer's own code says more: of permissions, of too many requests

    async def _attempt(self, auth: AuthHeaders, permit: Permit | None) -> Answer:
        if permit is None or not permit.is_held:
            self._progress.waiting_for, self._progress.phase = GATEWAY_OVERLOADED, "queue"
            with self._progress.timings.queued:
                permit = await self._policy.limiter.acquire(self._tenant.key)
        try:
            return await self._through_circuit(auth)
        finally:
            permit.release()

    async def _through_circuit(self, auth: AuthHeaders) -> Answer:
        circuits, progress = self._policy.circuits, self._progress
        if progress.deadline().at - self._now() < MIN_TIME:
            await asyncio.sleep(MIN_TIME)  # who waits for the page runs out of time, unless somebody joins
        began = self._now()
        passed = circuits.admit(self._tenant, began)
        if passed is None:
            raise GatewayError(UPSTREAM_CIRCUIT_OPEN, retry_delay=circuits.remaining(self._tenant, began))
        outcome = Outcome.NOTHING
        try:
            if progress.failure is not None:
                self._fetcher.metrics.retries.labels(progress.failure.cause.reason).inc()
            answer = await self._request(auth)
            outcome = Outcome.ANSWERED
        except GatewayError as error:
            outcome = _outcome_of(error)
            raise
        except asyncio.CancelledError:
            if self._has_timed_out(progress.deadline(), began):
                outcome = Outcome.UNAVAILABLE
            raise
        finally:
            circuits.settle(passed, outcome, self._now())
        return answer

    async def _request(self, auth: AuthHeaders) -> Answer:
        """Send a request; where a kept connection turns out to be stale, once more over a fresh one."""
        try:
            return await self._send(auth)
        except StaleConnectionError as stale:
            if stale.cause is UPSTREAM_TIMEOUT and not self._may_resend_silent():
                raise
            self._progress.failure = stale
            self._fresh_resends += 1
            self._fetcher.metrics.resends.labels(stale.cause.reason).inc()
            return await self._send(auth, fresh=True)

    def _may_resend_silent(self) -> bool:
        """Tell whether what was not answered in time is sent again: a slow upstream looks like a silent connection."""
        now = self._now()
        has_time = self._progress.deadline().at - now >= MIN_TIME
        return has_time and self._policy.retries > 0 and self._policy.silent.take(now)

    async def _send(self, auth: AuthHeaders, *, fresh: bool = False) -> Answer:
        call, progress, timings = self._call, self._progress, self._progress.timings
        trace = call.trace.begin_attempt(self._target, timings.attempts)
        timings.attempts += 1
        progress.waiting_for, timings.status, result = UPSTREAM_TIMEOUT, 0, CUT_OFF
        headers = {"X-Request-Id": call.request_id, **trace.headers, **auth.headers}
        try:
            with timings.fetching:
                answer = await self._fetcher.upstream.get(
                    self._target,
                    headers=headers,
                    secrets=auth.secrets,
                    progress=progress,
                    owner=int.from_bytes(self._tenant.key),
                    fresh=fresh,
                )
            result = ANSWERED
        except GatewayError as error:
            result = error.cause.reason
            raise
        finally:
            self._fetcher.observer.end(timings.status, result, timings.fetching.lap, trace)
        return answer

    def _has_timed_out(self, deadline: Deadline, began: float) -> bool:
        """Tell whether a request had its time: neither its caller cut it off, nor a gateway that had stood still."""
        ended = self._now()
        in_time = 0.0 <= ended - deadline.at <= timeouts.LATE
        return in_time and not deadline.by_caller and ended - began >= self._policy.fair_time


def _outcome_of(error: GatewayError) -> Outcome:
    """Return what a failure says of the upstream's health; a busy resource says as little as a caller's mistake."""
    if isinstance(error, HeldUpError):
        return Outcome.NOTHING
    is_sick = error.cause.code == code_pb2.UNAVAILABLE and error.cause is not BUSY
    return Outcome.UNAVAILABLE if is_sick else Outcome.ANSWERED
