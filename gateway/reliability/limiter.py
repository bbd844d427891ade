"""The concurrency limit of the upstream: so many requests at once, so many calls that wait, and tenants fairly.

The order is the pure core's (gateway.core.fair_limiter); this module lets calls wait for it. A permit goes to the
tenant that has the fewest, and within a tenant to whoever asked first. Nobody waits for long: a longer queue would not
get shorter, for by the time of a late permit its caller has gone or has asked a second time.
"""

from __future__ import annotations

import asyncio

from gateway.core.errors import GATEWAY_OVERLOADED, GatewayError
from gateway.core.fair_limiter import FairLimiter
from gateway.reliability import timeouts

# The tenant where there is one only.
NOBODY = b""


class _Waiter:
    """A call that waits for a permit."""

    def __init__(self, tenant: bytes) -> None:
        self.tenant = tenant
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.expiry: asyncio.TimerHandle | None = None

    def refuse(self) -> None:
        """End the wait without a permit."""
        if not self.granted.done():
            self.granted.set_exception(_overloaded())


class ConcurrencyLimiter:
    """Hands out permits for requests to the upstream.

    Args:
        limit: Permits that can be held at the same time.
        max_queue: Calls that may wait. Further ones are refused at once, or make the longest queue shorter by one.
        queue_timeout: Seconds after which a call that waits is refused. A tenant that has less than its share of
            permits is not to blame for the wait, and waits on.
        is_shared: Whether there are several tenants, for whom some permits are kept.
    """

    def __init__(self, limit: int, max_queue: int, queue_timeout: float, *, is_shared: bool = False) -> None:
        self._limiter: FairLimiter[_Waiter] = FairLimiter(limit, max_queue, is_shared=is_shared)
        self._limit = limit
        self._queue_timeout = queue_timeout

    @property
    def in_use(self) -> int:
        """Permits that are held now."""
        return self._limit - self._limiter.free

    @property
    def queued(self) -> int:
        """Calls that wait now."""
        return self._limiter.waiting

    def try_acquire(self, tenant: bytes = NOBODY) -> Permit | None:
        """Return a permit that nobody else wants now; None where there is none."""
        return Permit(self, tenant) if self._limiter.try_acquire(tenant) else None

    async def acquire(self, tenant: bytes = NOBODY) -> Permit:
        """Wait for a permit, which the caller has to release.

        Raises:
            GatewayError: GATEWAY_OVERLOADED: too many calls queue already, or this one queued for too long.
        """
        if not self._limiter.try_acquire(tenant):
            await self._wait(tenant)
        return Permit(self, tenant)

    async def _wait(self, tenant: bytes) -> None:
        waiter = _Waiter(tenant)
        gives_way = self._limiter.enqueue(tenant, waiter)
        if gives_way is waiter:
            raise _overloaded()
        if gives_way is not None:
            gives_way.refuse()
        self._expire_after(self._queue_timeout, waiter)
        try:
            await waiter.granted
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise
        finally:
            assert waiter.expiry is not None
            waiter.expiry.cancel()

    def release(self, tenant: bytes = NOBODY) -> None:
        """Pass a tenant's permit on to whoever is next."""
        self._limiter.release(tenant)
        while (waiter := self._limiter.next_waiter()) is not None:
            if waiter.granted.done():  # it was cancelled, and has not run since
                self._limiter.release(waiter.tenant)
            else:
                waiter.granted.set_result(None)

    def _expire_after(self, seconds: float, waiter: _Waiter) -> None:
        waiter.expiry = asyncio.get_running_loop().call_later(seconds, self._expire, waiter)

    def _expire(self, waiter: _Waiter) -> None:
        assert waiter.expiry is not None
        if waiter.granted.done():
            return
        if asyncio.get_running_loop().time() - waiter.expiry.when() > timeouts.LATE:
            self._expire_after(timeouts.CATCH_UP, waiter)  # what has come meanwhile may release permits
        elif self._limiter.is_owed(waiter.tenant):
            self._expire_after(self._queue_timeout, waiter)
        else:
            self._limiter.dequeue(waiter.tenant, waiter)
            waiter.refuse()

    def _withdraw(self, waiter: _Waiter) -> None:
        """Take a call out of the queue; a permit that was granted in this very moment goes to the next."""
        if waiter.granted.cancelled():
            self._limiter.dequeue(waiter.tenant, waiter)
        elif waiter.granted.exception() is None:
            self.release(waiter.tenant)


class Permit:
    """A permit for one request, released once: another time changes nothing.

    Args:
        limiter: Where it belongs.
        tenant: Whose it is.
    """

    def __init__(self, limiter: ConcurrencyLimiter, tenant: bytes) -> None:
        self._limiter: ConcurrencyLimiter | None = limiter
        self._tenant = tenant

    @property
    def is_held(self) -> bool:
        """Whether it was not released yet."""
        return self._limiter is not None

    def release(self) -> None:
        """Pass it on."""
        limiter, self._limiter = self._limiter, None
        if limiter is not None:
            limiter.release(self._tenant)


def _overloaded() -> GatewayError:
    return GatewayError(GATEWAY_OVERLOADED, phase="queue")
