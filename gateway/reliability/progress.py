"""How far the work for a page has come: what is answered to whoever waits for it, should the time end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.core.errors import CREDENTIAL_UNAVAILABLE, DEADLINE_EXCEEDED, GatewayError
from gateway.reliability.deadline import Deadline
from gateway.reliability.timeouts import PatientTimeout
from gateway.reliability.timings import Timings

Result = TypeVar("Result")


def _nobody_else_waits(until: float, failure: GatewayError) -> None:
    """Ignore a pause: the only waiter has more time than it takes, or there would be none."""


def no_request_id() -> str:
    """Return the upstream's name for a request that it has not answered."""
    return ""


class Progress:
    """How far the work for a page has come.

    Args:
        deadline: Returns until when anybody waits for it, as of now: with those who coalesce, that changes.
        on_pause: Told until when the work pauses, and the failure that it pauses for.
        timings: Told what the work takes, where that is known to somebody already.

    Attributes:
        deadline: As given.
        pause: As given.
        timings: What the work has taken.
        waiting_for: The cause of the failure, were the time over now.
        phase: Where in an upstream request the work is.
        request_id: Returns the upstream's name for the latest request, once it has answered: a function, for it takes
            time to see that a name shows no secret, and only failures tell it.
        failure: Why the last attempt failed.
        is_mended: Whether that is over, for there is a new credential: it is no answer any more.
    """

    __slots__ = ("deadline", "failure", "is_mended", "pause", "phase", "request_id", "timings", "waiting_for")

    def __init__(
        self,
        deadline: Callable[[], Deadline],
        on_pause: Callable[[float, GatewayError], None] = _nobody_else_waits,
        timings: Timings | None = None,
    ) -> None:
        self.deadline = deadline
        self.pause = on_pause
        self.timings = Timings() if timings is None else timings
        self.waiting_for = CREDENTIAL_UNAVAILABLE
        self.phase = ""
        self.request_id = no_request_id
        self.failure: GatewayError | None = None
        self.is_mended = False

    def out_of_time(self, deadline: Deadline) -> GatewayError:
        """Return what a caller is told whose time has ended: a failed attempt says more than the wait behind it."""
        if not deadline.by_caller and self.failure is not None and not self.is_mended:
            return self.failure.copy()
        cause = DEADLINE_EXCEEDED if deadline.by_caller else self.waiting_for
        request_id = self.request_id() if self.phase == "body" else ""
        return GatewayError(cause, phase=self.phase, upstream_request_id=request_id)


async def within(deadline: Deadline, progress: Progress, work: Awaitable[Result]) -> Result:
    """Wait for work until the deadline.

    Raises:
        GatewayError: The time ended, or the work failed; it tells the attempts.
    """
    try:
        with PatientTimeout(deadline.at):
            return await work
    except TimeoutError as timeout:
        error = progress.out_of_time(deadline)
        error.attempts = progress.timings.attempts
        raise error from timeout
    except GatewayError as error:
        error.attempts = progress.timings.attempts
        raise
