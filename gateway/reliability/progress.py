"""How far a call has come, and how much time it has: what is answered should the time end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from gateway.core.errors import CREDENTIAL_UNAVAILABLE, DEADLINE_EXCEEDED, GatewayError

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


class Progress:
    """How far the work for a call has come.

    Args:
        deadline: When nobody will wait for it any more.

    Attributes:
        attempts: Requests that were sent upstream.
        waiting_for: What would have to be blamed, were the time over now.
        phase: Where in an upstream request the work is.
        failure: Why the last attempt failed.
        renewed: Whether the credential was renewed on the way.
    """

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self.attempts = 0
        self.waiting_for = CREDENTIAL_UNAVAILABLE
        self.phase = ""
        self.failure: GatewayError | None = None
        self.renewed = False

    def deadline(self) -> Deadline:
        """Return when nobody will wait any more, as of now."""
        return self._deadline

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
        async with asyncio.timeout_at(deadline.at):
            return await work
    except TimeoutError as timeout:
        error = progress.out_of_time(deadline)
        error.attempts = progress.attempts
        raise error from timeout
    except GatewayError as error:
        error.attempts = progress.attempts
        raise
