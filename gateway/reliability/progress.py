"""How far a call has come, and how much time it has: what is answered should the time end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from gateway.core.errors import CREDENTIAL_UNAVAILABLE, DEADLINE_EXCEEDED, Cause, GatewayError

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
class Progress:
    """How far the work for a call, or for all who share it, has come.

    Attributes:
        ends: When nobody will wait for it any more at the latest, on the event loop's clock.
        attempts: Requests that were sent upstream.
        waiting_for: What would have to be blamed, were the time over now.
        phase: Where in an upstream request the work is.
        failure: Why the last attempt failed.
        renewed: Whether the credential was renewed on the way.
    """

    ends: float
    attempts: int = 0
    waiting_for: Cause = CREDENTIAL_UNAVAILABLE
    phase: str = ""
    failure: GatewayError | None = None
    renewed: bool = False

    def out_of_time(self, deadline: Deadline) -> GatewayError:
        """Return what a caller is told whose time has ended: a failed attempt says more than the wait behind it."""
        if deadline.by_caller:
            error = GatewayError(DEADLINE_EXCEEDED, phase=self.phase)
        elif self.failure is not None:
            error = self.failure.copy()
        else:
            error = GatewayError(self.waiting_for, phase=self.phase)
        error.attempts = self.attempts
        return error


async def within(deadline: Deadline, progress: Progress, work: Awaitable[Result]) -> Result:
    """Wait for work until the deadline.

    Raises:
        GatewayError: The time ended, or the work failed.
    """
    try:
        async with asyncio.timeout_at(deadline.at):
            return await work
    except TimeoutError as error:
        raise progress.out_of_time(deadline) from error
