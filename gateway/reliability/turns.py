"""Turns at the upstream: so many at once, so many who wait for one, and nobody for long."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from gateway.core.errors import GATEWAY_OVERLOADED, GatewayError

# Who has waited that long is refused. A longer queue would not get shorter: by the time of a late turn the caller has
# gone, or has asked a second time.
LONGEST_WAIT = 1.0


class Turns:
    """Gives turns in the order in which they were asked for.

    Args:
        at_once: Turns that can be taken at the same time.
        waiting: Those who may wait; further ones are refused at once.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._free = at_once
        self._at_once = at_once
        self._most_waiting = waiting
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def taken(self) -> int:
        """Turns that are taken now."""
        return self._at_once - self._free

    @property
    def queued(self) -> int:
        """Those who wait now."""
        return len(self._waiting)

    def take_spare(self) -> Turn | None:
        """Take a turn that nobody else wants now; None where there is none."""
        if not self._free:
            return None
        self._free -= 1
        return Turn(self)

    async def take(self) -> None:
        """Wait for a turn, which the caller has to give back.

        Raises:
            GatewayError: GATEWAY_OVERLOADED: too many wait already, or the wait was too long.
        """
        if self._free:
            self._free -= 1
            return
        if len(self._waiting) >= self._most_waiting:
            raise GatewayError(GATEWAY_OVERLOADED, phase="queue")
        granted = asyncio.get_running_loop().create_future()
        self._waiting.append(granted)
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                await granted
        except TimeoutError as error:
            self._leave(granted)
            raise GatewayError(GATEWAY_OVERLOADED, phase="queue") from error
        except asyncio.CancelledError:
            self._leave(granted)
            raise

    def give_back(self) -> None:
        """Hand the turn to who waits longest."""
        while self._waiting:
            granted = self._waiting.popleft()
            if not granted.done():
                granted.set_result(None)
                return
        self._free += 1

    def _leave(self, granted: asyncio.Future[None]) -> None:
        """Leave the queue; a turn that was given in this very moment goes to the next."""
        if granted.cancelled():
            with suppress(ValueError):  # it was passed over already
                self._waiting.remove(granted)
        else:
            self.give_back()


class Turn:
    """A turn that was taken and is given back once: another time changes nothing.

    Args:
        turns: Where it belongs.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns: Turns | None = turns

    @property
    def is_held(self) -> bool:
        """Whether it was not given back yet."""
        return self._turns is not None

    def give_back(self) -> None:
        """Hand it to who waits longest."""
        turns, self._turns = self._turns, None
        if turns is not None:
            turns.give_back()
