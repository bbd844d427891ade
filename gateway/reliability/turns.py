"""Turns at the upstream: so many at once, so many who wait for one, nobody for long, and tenants fairly."""

from __future__ import annotations

import asyncio

from gateway.core.errors import GATEWAY_OVERLOADED, GatewayError
from gateway.core.fair_limiter import FairLimiter
from gateway.reliability import timeouts

# The tenant where there is one only.
NOBODY = b""


class _Waiter:
    """One who waits for a turn."""

    def __init__(self, tenant: bytes) -> None:
        self.tenant = tenant
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.expiry: asyncio.TimerHandle | None = None

    def refuse(self) -> None:
        """End the wait without a turn."""
        if not self.granted.done():
            self.granted.set_exception(_overloaded())


class Turns:
    """Gives turns: to the tenant that has the fewest, and of one tenant in the order in which they were asked for.

    Args:
        at_once: Turns that can be taken at the same time.
        waiting: Those who may wait. Further ones are refused at once, or make the longest queue shorter by one.
        longest_wait: Seconds after which who waits is refused: a longer queue would not get shorter, for by the time of
            a late turn the caller has gone or has asked a second time. A tenant that has less than its share of turns
            is not to blame for the wait, and waits on.
        is_shared: Whether there are several tenants, for whom some turns are kept.
    """

    def __init__(self, at_once: int, waiting: int, longest_wait: float, *, is_shared: bool = False) -> None:
        self._limiter: FairLimiter[_Waiter] = FairLimiter(at_once, waiting, is_shared=is_shared)
        self._at_once = at_once
        self._longest_wait = longest_wait

    @property
    def taken(self) -> int:
        """Turns that are taken now."""
        return self._at_once - self._limiter.free

    @property
    def queued(self) -> int:
        """Those who wait now."""
        return self._limiter.waiting

    def take_spare(self, tenant: bytes = NOBODY) -> Turn | None:
        """Take a turn that nobody else wants now; None where there is none."""
        return Turn(self, tenant) if self._limiter.try_acquire(tenant) else None

    async def take(self, tenant: bytes = NOBODY) -> Turn:
        """Wait for a turn, which the caller has to give back.

        Raises:
            GatewayError: GATEWAY_OVERLOADED: too many wait already, or the wait was too long.
        """
        if not self._limiter.try_acquire(tenant):
            await self._wait(tenant)
        return Turn(self, tenant)

    async def _wait(self, tenant: bytes) -> None:
        waiter = _Waiter(tenant)
        gives_way = self._limiter.enqueue(tenant, waiter)
        if gives_way is waiter:
            raise _overloaded()
        if gives_way is not None:
            gives_way.refuse()
        self._watch(waiter, self._longest_wait)
        try:
            await waiter.granted
        except asyncio.CancelledError:
            self._leave(waiter)
            raise
        finally:
            assert waiter.expiry is not None
            waiter.expiry.cancel()

    def give_back(self, tenant: bytes = NOBODY) -> None:
        """Hand a tenant's turn on."""
        self._limiter.release(tenant)
        while (waiter := self._limiter.next_waiter()) is not None:
            if waiter.granted.done():  # it was cut off, and has not run since
                self._limiter.release(waiter.tenant)
            else:
                waiter.granted.set_result(None)

    def _watch(self, waiter: _Waiter, seconds: float) -> None:
        waiter.expiry = asyncio.get_running_loop().call_later(seconds, self._expire, waiter)

    def _expire(self, waiter: _Waiter) -> None:
        assert waiter.expiry is not None
        if waiter.granted.done():
            return
        if asyncio.get_running_loop().time() - waiter.expiry.when() > timeouts.LATE:
            self._watch(waiter, timeouts.CATCH_UP)  # turns may be given back by what has come meanwhile
        elif self._limiter.is_owed(waiter.tenant):
            self._watch(waiter, self._longest_wait)
        else:
            self._limiter.dequeue(waiter.tenant, waiter)
            waiter.refuse()

    def _leave(self, waiter: _Waiter) -> None:
        """Leave the queue; a turn that was given in this very moment goes to the next."""
        if waiter.granted.cancelled():
            self._limiter.dequeue(waiter.tenant, waiter)
        elif waiter.granted.exception() is None:
            self.give_back(waiter.tenant)


class Turn:
    """A turn that was taken and is given back once: another time changes nothing.

    Args:
        turns: Where it belongs.
        tenant: Whose it is.
    """

    def __init__(self, turns: Turns, tenant: bytes) -> None:
        self._turns: Turns | None = turns
        self._tenant = tenant

    @property
    def is_held(self) -> bool:
        """Whether it was not given back yet."""
        return self._turns is not None

    def give_back(self) -> None:
        """Hand it to who is next."""
        turns, self._turns = self._turns, None
        if turns is not None:
            turns.give_back(self._tenant)


def _overloaded() -> GatewayError:
    return GatewayError(GATEWAY_OVERLOADED, phase="queue")
