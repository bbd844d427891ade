"""Starts workers, restarts those that die, passes on what it is told, and drains them one after the other.

It serves nothing itself but operators, and never imports gRPC.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.background import begin
from gateway.metrics import supervisor_families
from gateway.settings.model import Settings
from gateway.settings.settings_file import Loaded
from gateway.settings.start_line import start_fields
from gateway.start_errors import WorkerError
from gateway.telemetry.admin import Admin
from gateway.telemetry.loop_monitor import DEAD_AFTER
from gateway.workers.channel import Order
from gateway.workers.counts import Totals
from gateway.workers.hanging import kill_hanging
from gateway.workers.ports import SharedPorts
from gateway.workers.process import STOP_TIMEOUT, Worker, start_worker, starts, stop_now

_log = logging.getLogger(__name__)

# Seconds until a worker that died is replaced: doubled each time, and the first again after one that lasted.
FIRST_DELAY = 1.0
MAX_DELAY = 30.0
LASTED = 60.0
# Seconds that workers have to tell what they have counted; what they told before is shown of those that do not.
COUNT_TIMEOUT = 3.0
# Seconds that they have to read their files again; whoever does not answer does it later, or is replaced.
READ_TIMEOUT = 10.0


class Supervisor:
    """A gateway of several workers, as a context manager: leaving it drains them, a cancellation ends them at once.

    Args:
        settings: What to run.
        loaded: The same as they were loaded, where there is a file of theirs to read again.

    Attributes:
        addresses: What the workers listen on, with the ports that were chosen for `:0`. Known inside the context.
    """

    def __init__(self, settings: Settings, loaded: Loaded | None = None) -> None:
        self._settings = settings
        self._loaded = loaded
        self._workers: dict[int, Worker] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = False
        self._totals = Totals(self._count)
        self.addresses: tuple[str, ...] = ()

    async def __aenter__(self) -> Self:
        """Start: the first worker alone, for what stops one stops all, and then the others.

        Raises:
            ListenError: An address cannot be listened on.
            WorkerError: The first worker did not start.
        """
        async with AsyncExitStack() as stack:
            ports = stack.enter_context(SharedPorts(self._settings.listen))
            self.addresses = ports.addresses
            operators = await self._open_admin(stack)
            stack.push_async_callback(self._end_at_once)
            await self._start(1)
            if not await starts(self._workers[1]):
                raise WorkerError
            for number in range(2, self._settings.workers + 1):
                await self._start(number)
            self._keepers = [
                begin("the end of workers that hang", kill_hanging(self._known)),
                *(begin(f"the replacement of worker {one.number}", self._keep(one)) for one in self._known()),
            ]
            await asyncio.gather(*map(starts, self._workers.values()))
            self._resources = stack.pop_all()
        _log.info(
            "serving on %s, upstream %s%s, %d workers",
            ", ".join(self.addresses),
            self._settings.origin,
            operators,
            self._settings.workers,
            extra={"fields": start_fields(self._settings)},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not asyncio.CancelledError:  # as when two signals come together
                await self._drain()
        finally:
            await self._resources.aclose()

    async def read_files(self) -> None:
        """Have all workers read certificates, keys and secrets again that changed, and wait until they have."""
        if reading := [worker.read_files() for worker in self._known()]:
            await asyncio.wait(reading, timeout=READ_TIMEOUT)

    async def _drain(self) -> None:
        """Drain one worker after the other: while one does, those behind it take new calls.

        All of it takes no longer than one process would: they say NOT_SERVING together, and where one has long calls
        those behind it begin too, in time to give theirs a share of the grace.
        """
        _log.info("draining")
        await self._stop_keepers()
        for worker in self._known():
            worker.tell(Order.HIDE)
        await asyncio.sleep(self._settings.drain_delay)
        grace = self._settings.drain_grace
        deadline = time.monotonic() + grace
        workers = self._known()
        for worker in workers:
            worker.tell(Order.DRAIN, max(deadline - time.monotonic(), 0.0))
            await self._end(worker, grace / len(workers))
        left, last = self._known(), max(deadline - time.monotonic(), 0.0) + STOP_TIMEOUT
        for worker, has_ended in zip(left, await asyncio.gather(*(self._end(one, last) for one in left)), strict=True):
            if not has_ended:
                _log.error("worker %d does not end, and is killed", worker.number)
                worker.process.kill()
        _log.info("stopped")

    async def _end(self, worker: Worker, seconds: float) -> bool:
        """Wait for the end of a worker; tell whether it came in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await worker.ends()
                self._forget(worker)
                return True
        return False

    async def _end_at_once(self) -> None:
        await self._stop_keepers()
        await asyncio.gather(*map(stop_now, self._workers.values()))
        for worker in self._known():
            self._forget(worker)

    async def _stop_keepers(self) -> None:
        self._stopping = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def _keep(self, worker: Worker) -> None:
        """Put a new worker in the place of one that ended, until cancelled."""
        delay = FIRST_DELAY
        while True:
            began = time.monotonic()
            code = await worker.ends()
            self._forget(worker)
            delay = FIRST_DELAY if time.monotonic() - began >= LASTED else delay
            self._restarts.inc()
            _log.error("worker %d ended with %d; the next one in %.0f s", worker.number, code, delay)
            worker, delay = await self._restart(worker.number, delay)

    async def _restart(self, number: int, delay: float) -> tuple[Worker, float]:
        """Start a worker after a delay, and again after a longer one where the machine has no room for it."""
        while True:
            await asyncio.sleep(delay)
            delay = min(delay * 2, MAX_DELAY)
            try:
                return await self._start(number), delay
            except OSError as error:
                _log.error("worker %d cannot be started: %s; the next one in %.0f s", number, error.strerror, delay)

    async def _start(self, number: int) -> Worker:
        settings = self._settings.model_copy(update={"listen": self.addresses})
        worker = self._workers[number] = await start_worker(number, settings, self._loaded, self._totals.update)
        return worker

    def _forget(self, worker: Worker) -> None:
        if self._workers.pop(worker.number, None) is worker:
            self._totals.end(worker.number)

    async def _open_admin(self, stack: AsyncExitStack) -> str:
        """Answer operators for all workers; return how that is logged."""
        self._loop = asyncio.get_running_loop()
        registry = CollectorRegistry()
        registry.register(self._totals)
        self._restarts = Counter(
            "swr_gateway_worker_restarts", "Workers that died and were replaced.", registry=registry
        )
        Gauge("swr_gateway_workers", "Workers that run.", registry=registry).set_function(lambda: len(self._workers))
        Gauge("swr_gateway_ready", "Workers that serve.", registry=registry).set_function(lambda: len(self._serving()))
        if not self._settings.admin_listen:
            return ""
        admin = Admin(
            self._settings,
            registry,
            problems=self._problems,
            not_ready_reasons=self._not_ready_reasons,
            notes=self._notes,
        )
        return f", operators on {(await stack.enter_async_context(admin)).address}"

    def _count(self) -> None:
        """Have all workers tell what they have counted by now, as far as they answer; called from another thread."""
        self._totals.update(0, supervisor_families())
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._ask(), self._loop).result(2 * COUNT_TIMEOUT)

    async def _ask(self) -> None:
        asked = [worker.count() for worker in self._known() if worker.started.is_set() and not _is_stuck(worker)]
        if asked:
            await asyncio.wait(asked, timeout=COUNT_TIMEOUT)

    def _problems(self) -> tuple[str, ...]:
        return tuple(_describe(worker) for worker in self._known() if _is_stuck(worker))

    def _not_ready_reasons(self) -> tuple[str, ...]:
        """Return what keeps all workers from serving; one that serves is enough, for connections go to it."""
        if self._stopping:
            return ("draining",)
        return () if self._serving() else ("no worker serves",)

    def _notes(self) -> tuple[str, ...]:
        known = {worker.number: _describe(worker) for worker in self._known()}
        return tuple(known.get(number, f"worker {number}: gone") for number in range(1, self._settings.workers + 1))

    def _serving(self) -> list[Worker]:
        return [worker for worker in self._known() if not worker.not_ready_reasons() and not _is_stuck(worker)]

    def _known(self) -> list[Worker]:
        """Return the workers there are; may be asked for by another thread."""
        workers = list(self._workers.values())
        workers.sort(key=lambda worker: worker.number)
        return workers


def _is_stuck(worker: Worker) -> bool:
    """Tell whether a worker that had begun to serve says nothing any more."""
    return worker.started.is_set() and worker.silence() > DEAD_AFTER


def _describe(worker: Worker) -> str:
    if _is_stuck(worker):
        return f"worker {worker.number}: the event loop has not turned for {worker.silence():.0f} s"
    return worker.describe()
