"""How far a call has come, and how much time it has: what is answered should the time end."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Literal, TypeVar

from gateway.core.errors import CREDENTIAL_UNAVAILABLE, DEADLINE_EXCEEDED, GatewayError
from gateway.reliability.timeouts import PatientTimeout

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a call must be over.

    Attributes:
        at: On the event loop's clock, in seconds.
        by_caller: Whether the caller set it, rather than the gateway's own settings.
    """

    at: float
    by_caller: bool


@dataclass(slots=True)
class Spent:
    """What work at the upstream has taken so far.

    Attributes:
        attempts: Requests that were sent.
        status: HTTP status of the last answer; 0 where none came.
        queued: Seconds of waiting for a turn.
        fetching: Seconds of requests.
        converting: Seconds of the processor's for what came back.
    """

    attempts: int = 0
    status: int = 0
    queued: float = 0.0
    fetching: float = 0.0
    converting: float = 0.0

    def add(self, other: Spent) -> None:
        """Add what other work has taken."""
        self.attempts += other.attempts
        self.status = other.status or self.status
        self.queued += other.queued
        self.fetching += other.fetching
        self.converting += other.converting


class Progress(Spent):
    """How far the work for a call has come.

    Args:
        deadline: When nobody will wait for it any more.

    Attributes:
        waiting_for: What would have to be blamed, were the time over now.
        phase: Where in an upstream request the work is.
        failure: Why the last attempt failed.
        renewed: Whether the credential was renewed on the way.
        resent: Requests that were sent again because a kept connection was stale.
    """

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline
        self._doing = ""
        self._since = 0.0
        self.waiting_for = CREDENTIAL_UNAVAILABLE
        self.phase = ""
        self.failure: GatewayError | None = None
        self.renewed = False
        self.resent = 0

    def deadline(self) -> Deadline:
        """Return when nobody will wait any more, as of now."""
        return self._deadline

    def begin(self, doing: Literal["queued", "fetching"]) -> None:
        """Spend time on something from now on."""
        self._doing, self._since = doing, time.monotonic()

    def end(self) -> float:
        """Do nothing more; return the seconds of what was done."""
        seconds = time.monotonic() - self._since
        setattr(self, self._doing, getattr(self, self._doing) + seconds)
        self._doing = ""
        return seconds

    def so_far(self) -> Spent:
        """Return what the work has taken, with what is being done."""
        spent = Spent()
        spent.add(self)
        if self._doing:
            setattr(spent, self._doing, getattr(spent, self._doing) + time.monotonic() - self._since)
        return spent

    def pause(self, until: float, failure: GatewayError) -> None:
        """Note that the work stands still until a time, because of a failure."""

    def out_of_time(self, deadline: Deadline) -> GatewayError:
        """Return what a caller is told whose time has ended: a failed attempt says more than the wait behind it."""
        if deadline.by_caller:
            return GatewayError(DEADLINE_EXCEEDED, phase=self.phase)
        if self.failure is not None:
            return self.failure.copy()
        return GatewayError(self.waiting_for, phase=self.phase)


async def within(deadline: Deadline, progress: Progress, work: Awaitable[Result]) -> Result:
    """Wait for work until the deadline.

    Raises:
        GatewayError: The time ended, or the work failed; it tells the attempts.
    """
    try:
        async with PatientTimeout(deadline.at):
            return await work
    except TimeoutError as timeout:
        error = progress.out_of_time(deadline)
        error.attempts = progress.attempts
        raise error from timeout
    except GatewayError as error:
        error.attempts = progress.attempts
        raise
