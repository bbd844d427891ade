"""Calls that wait for their callers: for a request to come, or for a message to be taken. None does so for ever."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from gateway.server.dropping import drop_calls

# Bytes of messages that may wait to be taken, of which gRPC keeps two copies: where there are more in all, one
# connection may have so many of them.
MOST_UNSENT = 64 * 2**20
MOST_UNSENT_OF_ONE = MOST_UNSENT // 4


class Waiting(Protocol):
    """A call, as far as it waits for its caller.

    Attributes:
        task: What runs it.
        waits_since: When the wait began, on the event loop's clock; 0 while there is none.
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

    Nearly none is long, so a wait costs next to nothing: there is one timer, which looks at all calls as often as one
    of them can have waited for too long.

    Args:
        limit: Seconds that a call may wait at a time.

    Attributes:
        calls: Those that are being served.
        loop: Whose clock counts.
        messages: Messages that wait to be taken.
        unsent: How many bytes they have.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self.loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.calls: set[Waiting] = set()
        self.messages = 0
        self.unsent = 0

    def add(self, call: Waiting) -> None:
        """Look after one more."""
        self.calls.add(call)
        if self._timer is None:
            self._timer = self.loop.call_later(self._limit, self._look)

    def all_unread_for(self, seconds: float) -> bool:
        """Tell whether all calls, if there are any, have waited for so long for a message to be taken."""
        begun = self.loop.time() - seconds
        return all(call.unsent and call.waits_since <= begun for call in self.calls)

    def begin_message(self, call: Waiting, size: int) -> None:
        """Let a call wait for a message to be taken."""
        call.waits_since, call.unsent = self.loop.time(), size
        self.messages += 1
        self.unsent += size

    def end_message(self, call: Waiting) -> None:
        """Note that it was taken, or that nobody waits for that any more."""
        if call.unsent:
            self.messages -= 1
            self.unsent -= call.unsent
        call.waits_since, call.unsent = 0.0, 0

    def is_full_for(self, call: Waiting) -> bool:
        """Tell whether no further message should wait: there are many, and many of them on the call's connection."""
        if self.unsent <= MOST_UNSENT:
            return False
        peer = call.peer()
        return sum(other.unsent for other in self.calls if other.unsent and other.peer() == peer) > MOST_UNSENT_OF_ONE

    def _look(self) -> None:
        """End the calls whose time has run out, and look again when the next one's does."""
        now = self.loop.time()
        late = [call for call in self.calls if call.waits_since and call.waits_since + self._limit <= now]
        for call in late:
            call.waits_since = now  # once more for the status to be taken
        drop_calls([call.task for call in late if call.run_out()])
        since = min((call.waits_since for call in self.calls if call.waits_since), default=now)
        self._timer = self.loop.call_at(since + self._limit, self._look) if self.calls else None
