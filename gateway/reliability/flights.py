"""Identical calls share the work for one of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from gateway.core.errors import GATEWAY_INTERNAL, GatewayError
from gateway.metrics import Metrics
from gateway.reliability.progress import Deadline, Progress, Spent, within

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


class _Flight(Progress, Generic[Result]):
    """Work under way, and until when each of those who share it waits."""

    def __init__(self, first: Deadline) -> None:
        super().__init__(first)
        self.task: asyncio.Task[Result] | None = None
        self.waiters: dict[asyncio.Future[Result], Deadline] = {}
        self._paused: tuple[float, GatewayError] | None = None

    def board(self, waiter: asyncio.Future[Result], deadline: Deadline) -> None:
        """Let one more wait; in a pause whose end it would not see, answer it at once."""
        self.waiters[waiter] = deadline
        if self._paused is not None:
            self._answer_early(waiter, deadline, *self._paused)

    def leave(self, waiter: asyncio.Future[Result]) -> None:
        """Let one go; the last one's deadline is what tells who cut the work off."""
        self._deadline = self.waiters.pop(waiter)

    def deadline(self) -> Deadline:
        """Return when the last one will have left, or was to leave where all are gone."""
        return max(self.waiters.values(), key=lambda deadline: deadline.at, default=super().deadline())

    def pause(self, until: float, failure: GatewayError) -> None:
        """Answer those at once who would not see the end of it, now or when they join."""
        self._paused = until, failure  # a pause that is over concerns nobody: who has time left has it behind its end
        for waiter, deadline in self.waiters.items():
            self._answer_early(waiter, deadline, until, failure)

    @staticmethod
    def _answer_early(waiter: asyncio.Future[Result], deadline: Deadline, until: float, failure: GatewayError) -> None:
        if deadline.at <= until and not waiter.done():
            waiter.set_exception(failure.copy())


class Flights(Generic[Result]):
    """Runs the work for equal keys once.

    The work is a task of its own: it lasts as long as its longest waiter, each of whom leaves at its own deadline, or
    when its caller does; it is cancelled when the last one has left. Whoever comes after that starts anew. An error is
    a copy for each, and the end of one waiter never is that of another.

    Args:
        metrics: Where those who join are counted.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._flights: dict[Hashable, _Flight[Result]] = {}

    async def join(
        self,
        key: Hashable,
        work: Callable[[Progress], Coroutine[Any, Any, Result]],
        deadline: Deadline,
        spent: Spent | None = None,
    ) -> Result:
        """Wait for the work under way for a key, or begin it.

        Args:
            key: Of all that makes two calls identical, the credential among it.
            work: Begins the work, which keeps its progress up to date.
            deadline: Until when this caller waits.
            spent: Told what the work has taken when the caller leaves.

        Raises:
            GatewayError: The work failed, or this caller's time ended.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._begin(key, work, deadline)
        else:
            self._metrics.shared_calls.inc()
        waiter: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        flight.board(waiter, deadline)
        try:
            return await within(deadline, flight, waiter)
        finally:
            if spent is not None:
                spent.add(flight.so_far())
            if waiter.done() and not waiter.cancelled():
                waiter.exception()  # who left in this very moment does not hear of it, and that is no warning
            flight.leave(waiter)
            if not flight.waiters:
                self._abandon(key, flight)

    def _begin(
        self, key: Hashable, work: Callable[[Progress], Coroutine[Any, Any, Result]], deadline: Deadline
    ) -> _Flight[Result]:
        flight = self._flights[key] = _Flight(deadline)
        flight.task = asyncio.create_task(work(flight))
        flight.task.add_done_callback(lambda task: self._land(key, flight, task))
        return flight

    def _abandon(self, key: Hashable, flight: _Flight[Result]) -> None:
        """End work that nobody waits for; who comes from now on begins anew."""
        self._forget(key, flight)
        if flight.task is not None:
            flight.task.cancel()

    def _land(self, key: Hashable, flight: _Flight[Result], task: asyncio.Task[Result]) -> None:
        """Tell all who wait: one callback for all of them, however many they are."""
        self._forget(key, flight)
        waiting = [waiter for waiter in flight.waiters if not waiter.done()]
        error = RuntimeError("a shared call was cancelled") if task.cancelled() else task.exception()
        if error is None:
            for waiter in waiting:
                waiter.set_result(task.result())
        elif isinstance(error, GatewayError):
            for waiter in waiting:
                waiter.set_exception(error.copy())
        else:
            # A bug of ours: the first call reports it as its own.
            if not waiting and not task.cancelled():
                _log.error("shared work failed that nobody waited for", exc_info=error)
            for number, waiter in enumerate(waiting):
                waiter.set_exception(GatewayError(GATEWAY_INTERNAL) if number else error)

    def _forget(self, key: Hashable, flight: _Flight[Result]) -> None:
        """Let nobody join any more; the place may belong to a later flight already."""
        if self._flights.get(key) is flight:
            del self._flights[key]
