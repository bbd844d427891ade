"""One page from the upstream: the sign-in, a turn, the circuit, the request, and others where that one failed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from google.rpc import code_pb2

from gateway.core.breaker import Outcome
from gateway.core.circuits import Circuits
from gateway.core.errors import (
    CREDENTIAL_UNAVAILABLE,
    GATEWAY_OVERLOADED,
    UPSTREAM_CIRCUIT_OPEN,
    UPSTREAM_CONNECTION_LOST,
    UPSTREAM_TIMEOUT,
    GatewayError,
)
from gateway.core.retry import LEAST_TIME, RetryBudget, delay_before_retry, take_from_both
from gateway.core.status import BUSY, CREDENTIAL_REJECTED
from gateway.core.tenants import Tenant, Tenants
from gateway.credentials.base import Credential, SignIn
from gateway.metrics import Metrics
from gateway.reliability.progress import Deadline, Progress
from gateway.reliability.turns import Turn, Turns
from gateway.telemetry.call import Call
from gateway.telemetry.tracing import AttemptTrace
from gateway.upstream.client import Answer, HeldUpError, StaleConnectionError, UpstreamClient
from gateway.upstream.session import host_and_port

# Results in metrics that are no reasons of failures.
ANSWERED = "ok"
CUT_OFF = "CUT_OFF"

_STATUSES = frozenset(int(status) for status in HTTPStatus)

# Where a request could not be sent again, the answer to the one before says more.
_NOT_SENT = (GATEWAY_OVERLOADED, UPSTREAM_CIRCUIT_OPEN)


@dataclass(frozen=True, slots=True)
class Protection:
    """What stands between calls and an upstream that has trouble: one for each upstream.

    Attributes:
        tenants: Whose credentials calls use.
        turns: How many requests it gets at once.
        circuits: Whether it is left alone.
        budget: How many requests of all tenants are sent again.
        silent: How many requests are sent again because a kept connection was silent for the time of an attempt.
        retries: How often one request is sent again at the most.
        fair_time: Seconds without an answer that make a time-out of a request which `--timeout` cuts off.
    """

    tenants: Tenants
    turns: Turns
    circuits: Circuits
    budget: RetryBudget
    silent: RetryBudget
    retries: int
    fair_time: float


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
        self._known_series: dict[tuple[int, str], tuple[Any, Any]] = {}
        for cause in (UPSTREAM_CONNECTION_LOST, UPSTREAM_TIMEOUT):
            metrics.resends.labels(cause.reason)

    def take_spare_turn(self, call: Call) -> Turn | None:
        """Take a turn for a page that nobody waits for yet; None where others have taken or want them all."""
        return self._protection.turns.take_spare(self._tenant_of(call).key)

    async def fetch(self, target: str, call: Call, progress: Progress, turn: Turn | None = None) -> Answer:
        """Fetch one page, by as many requests as make sense.

        A request whose token the upstream rejects is sent once more if there is a new one: what that is answered is
        the answer, for a cloud locks out who goes on trying.

        Args:
            target: Path and query.
            call: On whose behalf.
            progress: Kept up to date; who waits for the page watches the time.
            turn: A turn that was taken for the first request already.

        Raises:
            GatewayError: There is no page, for any reason: the last that was met.
        """
        for budget in (self._tenant_of(call).budget, self._protection.budget, self._protection.silent):
            budget.note_call()
        while True:
            progress.waiting_for, progress.phase = CREDENTIAL_UNAVAILABLE, ""
            sign_in = await self._credential.sign_in(target, call.metadata)
            try:
                answer = await self._attempt(target, call, sign_in, progress, turn)
            except GatewayError as error:
                if error.cause in _NOT_SENT and progress.failure is not None:
                    raise progress.failure from error
                progress.failure, progress.phase = error, ""
                delay = await self._delay_before_retry(error, call, sign_in, progress)
                if delay is None:
                    raise
            else:
                progress.failure, progress.phase = None, ""
                return answer
            progress.pause(asyncio.get_running_loop().time() + delay, progress.failure)
            await asyncio.sleep(delay)

    async def _delay_before_retry(
        self, error: GatewayError, call: Call, sign_in: SignIn, progress: Progress
    ) -> float | None:
        """Return the seconds after which to send the request again; None where the failure is the answer."""
        # Any 401: a token dies at once when its user's password or permissions change, and SWR, the API gateway,
        # Keystone and proxies each have other words for it, or none.
        if error.http_status == HTTPStatus.UNAUTHORIZED and not progress.renewed:
            progress.renewed = True
            if await self._renewed(sign_in, error):
                return 0.0
        now = asyncio.get_running_loop().time()
        sent, remaining = progress.attempts - progress.resent, progress.deadline().at - now
        delay = delay_before_retry(error, sent, self._protection.retries, remaining)
        if delay is not None and not take_from_both(self._tenant_of(call).budget, self._protection.budget, now):
            self._metrics.retries_refused.inc()
            return None
        return delay

    async def _renewed(self, sign_in: SignIn, error: GatewayError) -> bool:
        """Tell whether there is a new credential to try once more with."""
        try:
            return await self._credential.renew(sign_in) is not None
        except GatewayError:
            if error.cause is CREDENTIAL_REJECTED:
                raise
            return False  # the answer's own code says more: of permissions, of too many requests

    async def _attempt(self, target: str, call: Call, sign_in: SignIn, progress: Progress, turn: Turn | None) -> Answer:
        if turn is None or not turn.is_held:
            turn = await self._queue_for_turn(call, progress)
        try:
            return await self._through_circuit(target, call, sign_in, progress)
        finally:
            turn.give_back()

    async def _queue_for_turn(self, call: Call, progress: Progress) -> Turn:
        progress.waiting_for, progress.phase = GATEWAY_OVERLOADED, "queue"
        progress.begin("queued")
        try:
            return await self._protection.turns.take(self._tenant_of(call).key)
        finally:
            progress.end()

    async def _through_circuit(self, target: str, call: Call, sign_in: SignIn, progress: Progress) -> Answer:
        circuits, tenant, now = self._protection.circuits, self._tenant_of(call), asyncio.get_running_loop().time
        if progress.deadline().at - now() < LEAST_TIME:
            await asyncio.sleep(LEAST_TIME)  # who waits for the page runs out of time, unless somebody joins
        began = now()
        passed = circuits.admit(tenant, began)
        if passed is None:
            raise GatewayError(UPSTREAM_CIRCUIT_OPEN, retry_delay=circuits.remaining(tenant, began))
        outcome = Outcome.NOTHING
        try:
            if progress.failure is not None:
                self._metrics.retries.labels(progress.failure.cause.reason).inc()
            answer = await self._request(target, call, sign_in, progress)
            outcome = Outcome.ANSWERED
        except GatewayError as error:
            outcome = _outcome_of(error)
            raise
        except asyncio.CancelledError:
            if self._has_timed_out(progress.deadline(), began, now()):
                outcome = Outcome.UNAVAILABLE
            raise
        finally:
            circuits.settle(passed, outcome, now())
        return answer

    async def _request(self, target: str, call: Call, sign_in: SignIn, progress: Progress) -> Answer:
        """Send a request; where a kept connection turns out to be stale, once more over a fresh one.

        That says nothing of the upstream, so neither the circuit nor the retry budget hears of it.
        """
        try:
            return await self._send(target, call, sign_in, progress)
        except StaleConnectionError as stale:
            if stale.cause is UPSTREAM_TIMEOUT and not self._may_resend_silent(progress):
                raise
            progress.failure = stale
            progress.resent += 1
            self._metrics.resends.labels(stale.cause.reason).inc()
            return await self._send(target, call, sign_in, progress, fresh=True)

    def _may_resend_silent(self, progress: Progress) -> bool:
        """Tell whether what was not answered in time is sent again: a slow upstream looks like a silent connection."""
        now = asyncio.get_running_loop().time()
        has_time = progress.deadline().at - now >= LEAST_TIME
        return has_time and self._protection.retries > 0 and self._protection.silent.take(now)

    async def _send(
        self, target: str, call: Call, sign_in: SignIn, progress: Progress, *, fresh: bool = False
    ) -> Answer:
        trace = call.trace.begin_attempt(target, progress.attempts)
        progress.attempts += 1
        progress.waiting_for, progress.status = UPSTREAM_TIMEOUT, 0
        result = CUT_OFF
        progress.begin("fetching")
        headers = {"X-Request-Id": call.request_id, **trace.headers, **sign_in.headers}
        try:
            answer = await self._upstream.get(
                target,
                headers=headers,
                secrets=sign_in.secrets,
                progress=progress,
                owner=int.from_bytes(self._tenant_of(call).key),
                fresh=fresh,
            )
            result = ANSWERED
        except GatewayError as error:
            result = error.cause.reason
            raise
        finally:
            self._note_attempt(progress, result, trace)
        return answer

    def _tenant_of(self, call: Call) -> Tenant:
        if call.tenant is None:
            key = call.identity(self._credential) if self._credential.is_callers else b""
            call.tenant = self._protection.tenants.get(key, asyncio.get_running_loop().time())
        return call.tenant

    def _has_timed_out(self, deadline: Deadline, began: float, ended: float) -> bool:
        """Tell whether a request that was cut off had its time: what a caller cuts off says nothing of the upstream."""
        return not deadline.by_caller and ended >= deadline.at and ended - began >= self._protection.fair_time

    def _note_attempt(self, progress: Progress, result: str, trace: AttemptTrace) -> None:
        seconds = progress.end()
        trace.end(progress.status, _reason_of(result))
        attempts, duration = self._series(progress.status, result)
        attempts.inc()
        duration.observe(seconds)

    def _series(self, status: int, result: str) -> tuple[Any, Any]:
        """Return where a request is counted and observed; to look it up by labels each time is dearer."""
        series = self._known_series.get((status, result))
        if series is None:
            host, port = host_and_port(self._upstream.origin)
            duration = self._metrics.request_seconds.labels(
                "GET", host, str(port), _label_of(status), _reason_of(result)
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


def _outcome_of(error: GatewayError) -> Outcome:
    """A busy resource says as little of the upstream's health as a caller's mistake does."""
    if isinstance(error, HeldUpError):
        return Outcome.NOTHING
    is_sick = error.cause.code == code_pb2.UNAVAILABLE and error.cause is not BUSY
    return Outcome.UNAVAILABLE if is_sick else Outcome.ANSWERED
