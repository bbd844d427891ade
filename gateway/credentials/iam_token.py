"""A token from the cloud's identity service, IAM, renewed ahead of its end."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from gateway.core.errors import CREDENTIAL_UNAVAILABLE, GATEWAY_INTERNAL, GatewayError
from gateway.core.iam_messages import IssuedToken, describe, is_refusal
from gateway.credentials.base import AuthHeaders, Credential, with_token
from gateway.metrics import Metrics

# The part of a token's life after which it is renewed, and how far gateways that started together drift apart.
RENEW_AFTER = 0.8
SPREAD = 0.05
# Between two renewals that calls ask for. Where even a new token is rejected, more of them would not help.
PACE = 10.0
# Seconds from a failed renewal to the next try: doubled with each failure, up to the last. IAM locks accounts for
# logins that it refused.
FIRST_WAIT = 1.0
MAX_WAIT_UNREACHABLE = 30.0
FIRST_WAIT_REFUSED = 60.0
MAX_WAIT = 300.0
# Least seconds from the issue of a token to its renewal, however short its life is.
MIN_RENEWAL_DELAY = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Held:
    """The token in use, and when it ends on the event loop's clock."""

    auth_headers: AuthHeaders
    ends: float


class IamToken(Credential):
    """One token for all calls, as a context manager: inside it, a task of its own keeps the token fresh.

    Only that task asks for tokens, so there is never more than one request for one. Calls wait for it where there is no
    token yet; while it waits after a failure they are refused at once.

    Args:
        fetch: Asks for a token; raises GatewayError where none can be had.
        announce: Told whenever it changes whether there is a token.
        metrics: Where renewals are counted.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[IssuedToken]],
        announce: Callable[[bool], Awaitable[None]],
        metrics: Metrics,
    ) -> None:
        self._fetch = fetch
        self._announce = announce
        self._metrics = metrics
        self._ends_at = self._held_since = 0.0
        metrics.watch(
            "token_expiry_timestamp_seconds",
            "When the IAM token in use ends; 0 while there is none.",
            lambda: self._ends_at,
            "livemin",
        )
        metrics.watch(
            "token_age_seconds",
            "For how long it has been in use; 0 while there is none.",
            lambda: time.time() - self._held_since if self._ends_at else 0.0,
            "livemax",
        )
        self._held: _Held | None = None
        self._told: bool | None = None
        self._failures = 0
        self._fetching = False
        self._due = 0.0  # at once
        self._pace = PACE
        self._asked_at = -MAX_WAIT * 10
        self._wanted = asyncio.Event()
        self._settled = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Begin to fetch the first token, in the background."""
        self._now = asyncio.get_running_loop().time
        await self._tell(available=False)
        self._keeper = asyncio.create_task(self._keep_fresh())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keeper.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeper

    async def auth_headers(self, target: str, metadata: Mapping[str, str]) -> AuthHeaders:
        """Return the token; CREDENTIAL_SOURCE_UNAVAILABLE where none can be had."""
        held = self._valid()
        if held is None:
            await self._fetched()
            held = self._valid()
        if held is None:
            raise self._none_to_be_had()
        return held.auth_headers

    async def renew(self, rejected: AuthHeaders) -> AuthHeaders | None:
        """Return a newer token than the one that was rejected, which all who were rejected together wait for.

        None where the last renewal that a call asked for is too short a while ago: the rejection is the answer then.
        The rejected token stays in use until there is a new one: one odd answer is no reason to refuse all calls.
        """
        held = self._valid()
        if held is None or held.auth_headers is not rejected:
            return await self.auth_headers("", {})
        if not (self._fetching or self._wanted.is_set()):
            if self._failures and self._now() < self._due:
                raise self._none_to_be_had()
            if self._now() < self._asked_at + self._pace:
                return None
            _log.warning("the upstream answers 401 to the token from IAM; asking for a new one")
            # Where even new tokens are rejected, more of them do not help.
            soon = self._now() < self._asked_at + 10 * self._pace
            self._pace = min(2 * self._pace, MAX_WAIT) if soon else PACE
            self._asked_at = self._now()
            self._wanted.set()
        await self._settled.wait()
        held = self._valid()
        if held is None or held.auth_headers is rejected:
            raise self._none_to_be_had()
        return held.auth_headers

    def _none_to_be_had(self) -> GatewayError:
        return GatewayError(CREDENTIAL_UNAVAILABLE, retry_delay=max(self._due - self._now(), 0.0))

    def _valid(self) -> _Held | None:
        held = self._held
        return held if held is not None and self._now() < held.ends else None

    async def _fetched(self) -> None:
        """Wait until a token was fetched or was not to be had; at once where it is known that it is not."""
        if not self._fetching:
            if self._now() < self._due:
                return
            self._wanted.set()
        await self._settled.wait()

    def replace(self, fetch: Callable[[], Awaitable[IssuedToken]]) -> None:
        """Ask for tokens in another way from now on, and for one at once: with another password, the last one dies."""
        self._fetch = fetch
        self._failures = 0
        self._wanted.set()

    async def _keep_fresh(self) -> None:
        while True:
            await self._sleep()
            if self._held is not None and self._valid() is None:
                self._held = None
                await self._tell(available=False)
            if self._wanted.is_set() or self._now() >= self._due:
                await self._renew()

    async def _sleep(self) -> None:
        """Sleep until a call wants a token, the next renewal is due, or the token in use ends."""
        ends = self._held.ends if self._held is not None else self._due
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(self._due, ends)):
                await self._wanted.wait()

    async def _renew(self) -> None:
        self._fetching = True
        self._wanted.clear()
        try:
            token = await self._fetch()
        except GatewayError as error:
            await self._fail(error)
        except Exception as error:  # noqa: BLE001 - the outermost frame of the task, which has to live on
            _log.error("renewal of the token failed", exc_info=error)
            await self._fail(GatewayError(GATEWAY_INTERNAL))
        else:
            self._failures = 0
            self._due = self._now() + renewal_delay(token.life)
            self._metrics.token_renewals.labels("ok").inc()
            await self._hold(token)
        finally:
            self._fetching = False
            self._settled.set()
            self._settled = asyncio.Event()

    async def _fail(self, error: GatewayError) -> None:
        wait = retry_delay(self._failures, refused=is_refusal(error))
        delay = min(max(wait, error.retry_after or 0.0), MAX_WAIT)
        self._failures += 1
        self._due = self._now() + delay
        self._metrics.token_renewals.labels(error.cause.reason).inc()
        _log.error(
            "no token from IAM: %s (HTTP status %s, code %s, phase %s): %s; next try in %.1f s; %s",
            error.cause.reason,
            error.http_status or "none",
            error.upstream_code or "none",
            error.phase or "none",
            describe(error) + (f" ({error.detail})" if error.detail else ""),
            delay,
            "the last one stays in use" if self._valid() else "calls are refused",
        )
        if self._valid() is None:
            await self._tell(available=False)

    async def _hold(self, token: IssuedToken) -> None:
        self._held = _Held(with_token(token.value), self._now() + token.life)
        self._ends_at, self._held_since = token.expires_at, time.time()
        _log.info("a token from IAM, for %.0f s", token.life)
        await self._tell(available=True)

    async def _tell(self, *, available: bool) -> None:
        if not available:
            self._ends_at = 0.0
        if available != self._told:
            self._told = available
            await self._announce(available)


def renewal_delay(life: float) -> float:
    """Return how many seconds after it was issued a token is renewed: at 80 % of its life, give or take 5 %."""
    return max(life * (RENEW_AFTER + random.uniform(-SPREAD, SPREAD)), MIN_RENEWAL_DELAY)


def retry_delay(failures: int, *, refused: bool) -> float:
    """Return how many seconds after a failed renewal the next is tried, between half of the wait and the whole.

    Args:
        failures: How many had failed before.
        refused: Whether IAM refused the login, rather than being unreachable or broken.
    """
    first, longest = (FIRST_WAIT_REFUSED, MAX_WAIT) if refused else (FIRST_WAIT, MAX_WAIT_UNREACHABLE)
    return min(first * 2.0 ** min(failures, 16), longest) * random.uniform(0.5, 1.0)
