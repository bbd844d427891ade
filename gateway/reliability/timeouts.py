"""A time-out that gives one more second where the process itself stood still."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

# A timer that fires so many seconds late was held up: the process was stopped, its machine moved, or the loop was busy.
LATE = 0.5
# Seconds in which what has arrived meanwhile is read before the time is over after all.
CATCH_UP = 1.0


class PatientTimeout:
    """Ends a block at a time, as `asyncio.timeout_at` does; a timer that fires late gives the block a last second.

    An event loop that goes on after a stop finds answers and time-outs due at once, and lets time-outs win. Every call
    has two of these, so one is a timer and nothing else.

    Args:
        when: On the event loop's clock, in seconds.

    Attributes:
        was_late: Whether the timer fired late.

    Raises:
        TimeoutError: The time was over, raised where the block ends.
    """

    __slots__ = ("_cancelling", "_is_over", "_loop", "_task", "_timer", "was_late", "when")

    def __init__(self, when: float) -> None:
        self.when = when
        self.was_late = False
        self._is_over = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_at(self.when, self._end, self.when)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._is_over and self._task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error

    def stop(self) -> None:
        """Let the block go on for as long as it takes."""
        self._timer.cancel()

    def _end(self, due: float) -> None:
        now = self._loop.time()
        if now - due > LATE and not self.was_late:
            self.was_late = True
            self._timer = self._loop.call_later(CATCH_UP, self._end, now + CATCH_UP)
        else:
            self._is_over = True
            self._task.cancel()
