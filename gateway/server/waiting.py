"""Ends calls whose callers send no request, or take no message, in time."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from gateway.reliability import timeouts
from gateway.server.dropping import drop_calls

# Bytes of messages that may wait to be taken, of which gRPC keeps two copies: where there are more in all, one
# connection may have so many of them.
MAX_UNSENT = 64 * 2**20
MAX_UNSENT_OF_ONE = MAX_UNSENT // 4


# How often calls are looked at while one may wait, of which one may wait for so much longer.
LOOKS = 8


class Waiting(Protocol):
    """A call, as far as it waits for its caller.

    Attributes:
        task: What runs it.
        waits_since: When the wait began, on the coarse clock; 0 while there is none.
        unsent: Bytes of the message that is to be taken; 0 where there is none.
    """

    task: asyncio.Task[Any]
    waits_since: float
    unsent: int

    def peer(self) -> str:
        """Return the connection that it came on."""
        ...

    def run_out(self) -> bool:
        """End, for the caller had all the time that there is; tell whether it is to be dropped, for all is said."""
        ...


class CallerWaits:
    """Looks after the waits of all calls.

    Nearly none is long, so a wait costs next to nothing: no timer of its own, and no look at a clock.

    Args:
        limit: Seconds that a call may wait at a time; it has up to an eighth more.

    Attributes:
        calls: Those that are being served.
        now: The event loop's time of the latest look at them.
        messages: Messages that wait to be taken.
        unsent: How many bytes they have.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit * (LOOKS + 1) / LOOKS
        self._interval = limit / LOOKS
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.calls: set[Waiting] = set()
        self.now = self._loop.time()
        self.messages = 0
        self.unsent = 0

    def add(self, call: Waiting) -> None:
        """Look after one more, which waits from now on."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._interval, self._look)
            self.now = self._loop.time()
        call.waits_since = self.now
        self.calls.add(call)

    def all_unread_for(self, seconds: float) -> bool:
        """Tell whether all calls, if there are any, have waited for so long for a message to be taken."""
        begun = self._loop.time() - self._interval - seconds
        return all(call.unsent and call.waits_since <= begun for call in self.calls)

    def is_full_for(self, call: Waiting) -> bool:
        """Tell whether no further message should wait: there are many, and many of them on the call's connection."""
        if self.unsent <= MAX_UNSENT:
            return False
        peer = call.peer()
        return sum(other.unsent for other in self.calls if other.unsent and other.peer() == peer) > MAX_UNSENT_OF_ONE

    def _look(self) -> None:
        """End the calls whose time has run out."""
        due, self.now = self.now + self._interval, self._loop.time()
        if self.now - due > timeouts.LATE:  # the process stood still, and it is no caller's fault that nothing was sent
            for call in self.calls:
                call.waits_since += (self.now - due) if call.waits_since else 0.0
        begun = self.now - self._limit
        late = [call for call in self.calls if 0.0 < call.waits_since <= begun]
        for call in late:
            call.waits_since = self.now  # once more for the status to be taken
        drop_calls([call.task for call in late if call.run_out()])
        self._timer = self._loop.call_later(self._interval, self._look) if self.calls else None
