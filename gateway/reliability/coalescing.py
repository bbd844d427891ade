"""Coalesces identical calls in flight: they share the work for one of them (single-flight).

The work is a task of its own. It lasts as long as its longest waiter, each of whom leaves at its own deadline, or when
its caller does; it is cancelled when the last one has left, and whoever comes after that starts anew. An error is a
copy for each, and the end of one waiter never is that of another. A pause before a retry is cut short for those who
would not see its end: they are told at once what the work pauses for, whether they wait already or join meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from gateway.core.errors import GATEWAY_INTERNAL, GatewayError
from gateway.metrics import Metrics
from gateway.reliability.deadline import Deadline
from gateway.reliability.progress import Progress, within
from gateway.reliability.timings import Timings

Result = TypeVar("Result")
Work: TypeAlias = Callable[[Progress], Coroutine[Any, Any, Result]]

_log = logging.getLogger(__name__)


class _Waiters(Generic[Result]):
    """Those who share one work, and until when each of them waits."""

    __slots__ = ("_deadlines", "_latest", "_pause")

    def __init__(self, first: Deadline) -> None:
        self._deadlines: dict[asyncio.Future[Result], Deadline] = {}
        self._latest = first
        self._pause: tuple[float, GatewayError] | None = None

    def __bool__(self) -> bool:
        return bool(self._deadlines)

    def add(self, waiter: asyncio.Future[Result], deadline: Deadline) -> None:
        """Let one more wait; in a pause whose end it would not see, answer it at once."""
        self._deadlines[waiter] = deadline
        if self._pause is not None:
            self._answer_early(waiter, deadline, *self._pause)

    def remove(self, waiter: asyncio.Future[Result]) -> None:
        """Let one go; the last one's deadline is what tells who cut the work off."""
        self._latest = self._deadlines.pop(waiter)

    def waiting(self) -> list[asyncio.Future[Result]]:
        """Return those who have not been answered."""
        return [waiter for waiter in self._deadlines if not waiter.done()]

    def deadline(self) -> Deadline:
        """Return when the last one will have left, or was to leave where all are gone."""
        return max(self._deadlines.values(), default=self._latest)

    def pause(self, until: float, failure: GatewayError) -> None:
        """Answer those at once who would not see the end of a pause, now or when they join."""
        self._pause = until, failure  # a pause that is over concerns nobody: who has time left has it behind its end
        for waiter, deadline in self._deadlines.items():
            self._answer_early(waiter, deadline, until, failure)

    @staticmethod
    def _answer_early(waiter: asyncio.Future[Result], deadline: Deadline, until: float, failure: GatewayError) -> None:
        if deadline.at <= until and not waiter.done():
            waiter.set_exception(failure.copy())


@dataclass(slots=True)
class _Flight(Generic[Result]):
    """Work under way, those who wait for it, and how far it has come."""

    waiters: _Waiters[Result]
    progress: Progress
    task: asyncio.Task[Result]


class Coalescer(Generic[Result]):
    """Runs the work for equal keys once.

    Args:
        metrics: Where those who join are counted.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._flights: dict[Hashable, _Flight[Result]] = {}

    async def run(
        self, key: Hashable, work: Work[Result], deadline: Deadline, timings: Timings | None = None
    ) -> Result:
        """Wait for the work under way for a key, or begin it.

        Args:
            key: Of all that makes two calls identical, the credential among it.
            work: Begins the work, which keeps its progress up to date.
            deadline: Until when this caller waits.
            timings: Told what the work has taken when the caller leaves.

        Raises:
            GatewayError: The work failed, or this caller's time ended.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._begin(key, work, deadline)
        else:
            self._metrics.coalesced_calls.inc()
        waiter: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        flight.waiters.add(waiter, deadline)
        try:
            return await within(deadline, flight.progress, waiter)
        finally:
            if timings is not None:
                timings.add(flight.progress.timings)
            if waiter.done() and not waiter.cancelled():
                waiter.exception()  # who left in this very moment does not hear of it, and that is no warning
            flight.waiters.remove(waiter)
            if not flight.waiters:
                self._abandon(key, flight)

    def _begin(self, key: Hashable, work: Work[Result], deadline: Deadline) -> _Flight[Result]:
        waiters: _Waiters[Result] = _Waiters(deadline)
        progress = Progress(waiters.deadline, waiters.pause)
        flight = self._flights[key] = _Flight(waiters, progress, asyncio.create_task(work(progress)))
        flight.task.add_done_callback(lambda task: self._end(key, flight, task))
        return flight

    def _abandon(self, key: Hashable, flight: _Flight[Result]) -> None:
        """Cancel work that nobody waits for; who comes from now on begins anew."""
        self._forget(key, flight)
        flight.task.cancel()

    def _end(self, key: Hashable, flight: _Flight[Result], task: asyncio.Task[Result]) -> None:
        """Tell all who wait: one callback for all of them, however many they are."""
        self._forget(key, flight)
        waiting = flight.waiters.waiting()
        error = RuntimeError("coalesced work was cancelled") if task.cancelled() else task.exception()
        if error is None:
            for waiter in waiting:
                waiter.set_result(task.result())
        elif isinstance(error, GatewayError):
            for waiter in waiting:
                waiter.set_exception(error.copy())
        else:
            # A bug of ours: the first call reports it as its own.
            if not waiting and not task.cancelled():
                _log.error("coalesced work failed that nobody waited for", exc_info=error)
            for number, waiter in enumerate(waiting):
                waiter.set_exception(GatewayError(GATEWAY_INTERNAL) if number else error)

    def _forget(self, key: Hashable, flight: _Flight[Result]) -> None:
        """Let nobody join any more; the place may belong to a later flight already."""
        if self._flights.get(key) is flight:
            del self._flights[key]
