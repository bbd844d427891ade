"""Starts workers, restarts those that die, passes on what it is told, and drains them one after the other.

It serves nothing itself but operators, and never imports gRPC.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from contextlib import AsyncExitStack, suppress
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from gateway.server.admin import Admin
from gateway.server.heart import DEAD_AFTER
from gateway.settings.model import Settings
from gateway.workers.channel import Command, Order, Pulse, listen, open_pair, say
from gateway.workers.errors import WorkerError
from gateway.workers.ports import SharedPorts

_log = logging.getLogger(__name__)

# Seconds until a worker that died is replaced: doubled each time, and the first again after one that lasted.
FIRST_DELAY = 1.0
LONGEST_DELAY = 30.0
LASTED = 60.0
# Seconds that workers have to leave at once, before they are killed.
LEAVE_TIMEOUT = 5.0

_STARTING = Pulse(hindrances=("starting",))


class Worker:
    """A process that serves, and what it last said of itself.

    Args:
        number: Counts from 1.
        process: The process.
        settings: What it shall serve.
        end: The channel to it.

    Attributes:
        number: Its number.
        started: Set when it serves.
    """

    def __init__(self, number: int, process: Process, settings: Settings, end: socket.socket) -> None:
        self.number = number
        self.process = process
        self.started = asyncio.Event()
        self._end = end
        self._pulse = _STARTING
        self._heard_at = time.monotonic()
        say(end, pickle.dumps(settings))
        listen(end, self._hear)

    def tell(self, order: Order, grace: float = 0.0) -> None:
        """Give it an order, a drain with the seconds that calls in flight have to finish."""
        say(self._end, msgspec.json.encode(Command(order, grace)))

    def hindrances(self) -> tuple[str, ...]:
        """Return what keeps it from serving."""
        return self._pulse.hindrances

    def describe(self) -> str:
        """Return how it is, in a line for operators."""
        return f"worker {self.number}: {', '.join(self._pulse.hindrances or ('ok', *self._pulse.remarks))}"

    def silence(self) -> float:
        """Return the seconds since it was last heard of."""
        return time.monotonic() - self._heard_at

    def _hear(self, message: bytes) -> None:
        if message:
            self._pulse = msgspec.json.decode(message, type=Pulse)
            self._heard_at = time.monotonic()
            self.started.set()
        else:
            self._end.close()


class Supervisor:
    """A gateway of several workers, as a context manager: inside it calls are served, and leaving it drains them.

    Args:
        settings: What to run.

    Attributes:
        addresses: What the workers listen on, with the ports that were chosen for `:0`. Known inside the context.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workers: dict[int, Worker] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = False
        self.addresses: tuple[str, ...] = ()

    async def __aenter__(self) -> Self:
        """Start: the first worker alone, for what stops one stops all, and then the others.

        Raises:
            ListenError: An address cannot be listened on.
            WorkerError: The first worker did not start.
        """
        async with AsyncExitStack() as stack:
            self._folder = stack.enter_context(TemporaryDirectory(prefix="swr-gateway-"))
            ports = stack.enter_context(SharedPorts(self._settings.listen))
            self.addresses = ports.addresses
            operators = await self._open_admin(stack)
            stack.push_async_callback(self._end_at_once)
            await self._start(1)
            if not await _starts(self._workers[1]):
                raise WorkerError
            for number in range(2, self._settings.workers + 1):
                await self._start(number)
            self._keepers = [asyncio.create_task(self._keep(worker)) for worker in self._workers.values()]
            await asyncio.gather(*map(_starts, self._workers.values()))
            self._resources = stack.pop_all()
        _log.info(
            "serving on %s, upstream %s%s, %d workers",
            ", ".join(self.addresses),
            self._settings.origin,
            operators,
            self._settings.workers,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._drain()
        finally:
            await self._resources.aclose()

    def look_at_files(self) -> None:
        """Have all workers read certificates, keys and tokens again that changed."""
        for worker in self._workers.values():
            worker.tell(Order.READ_FILES)

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
            with suppress(TimeoutError):
                async with asyncio.timeout(grace / len(workers)):
                    await worker.process.wait()
        for worker in workers:
            await worker.process.wait()
            self._forget(worker)
        _log.info("stopped")

    async def _end_at_once(self) -> None:
        await self._stop_keepers()
        await asyncio.gather(*map(_leave, self._workers.values()))

    async def _stop_keepers(self) -> None:
        self._stopping = True
        for keeper in self._keepers:
            keeper.cancel()
        for outcome in await asyncio.gather(*self._keepers, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    async def _keep(self, worker: Worker) -> None:
        """Put a new worker in the place of one that ended, until cancelled."""
        delay = FIRST_DELAY
        while True:
            began = time.monotonic()
            code = await worker.process.wait()
            self._forget(worker)
            delay = FIRST_DELAY if time.monotonic() - began >= LASTED else delay
            _log.error("worker %d ended with %d; the next one in %.0f s", worker.number, code, delay)
            self._restarts.inc()
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)
            worker = await self._start(worker.number)

    async def _start(self, number: int) -> Worker:
        ours, theirs = open_pair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway.workers.worker", str(number), str(theirs.fileno())),
                stdin=DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": self._folder},
            )
        settings = self._settings.model_copy(update={"listen": self.addresses})
        worker = self._workers[number] = Worker(number, process, settings, ours)
        return worker

    def _forget(self, worker: Worker) -> None:
        if self._workers.pop(worker.number, None) is worker:
            mark_process_dead(worker.process.pid, self._folder)  # type: ignore[no-untyped-call]

    async def _open_admin(self, stack: AsyncExitStack) -> str:
        """Answer operators for all workers; return how that is logged."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry, self._folder)  # type: ignore[no-untyped-call]
        self._restarts = Counter(
            "swr_gateway_worker_restarts", "Workers that died and were replaced.", registry=registry
        )
        Gauge("swr_gateway_workers", "Workers that run.", registry=registry).set_function(lambda: len(self._workers))
        Gauge("swr_gateway_ready", "Workers that serve.", registry=registry).set_function(lambda: len(self._serving()))
        if not self._settings.admin_listen:
            return ""
        admin = Admin(
            self._settings.admin_listen,
            registry,
            problems=self._problems,
            hindrances=self._hindrances,
            remarks=self._remarks,
        )
        return f", operators on {(await stack.enter_async_context(admin)).address}"

    def _problems(self) -> tuple[str, ...]:
        silent = [worker for worker in self._known() if worker.silence() > DEAD_AFTER]
        return tuple(
            f"worker {worker.number}: the event loop has not turned for {worker.silence():.0f} s" for worker in silent
        )

    def _hindrances(self) -> tuple[str, ...]:
        """One worker that serves is enough: connections go to those that listen."""
        if self._stopping:
            return ("draining",)
        return () if self._serving() else ("no worker serves",)

    def _remarks(self) -> tuple[str, ...]:
        return tuple(worker.describe() for worker in self._known())

    def _serving(self) -> list[Worker]:
        return [worker for worker in self._known() if not worker.hindrances()]

    def _known(self) -> list[Worker]:
        """Return the workers there are; may be asked for by another thread."""
        return [self._workers[number] for number in sorted(self._workers)]


async def _starts(worker: Worker) -> bool:
    """Wait until a worker serves or has ended; tell which."""
    started, ended = (asyncio.ensure_future(one) for one in (worker.started.wait(), worker.process.wait()))
    await asyncio.wait((started, ended), return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
    ended.cancel()
    return worker.started.is_set()


async def _leave(worker: Worker) -> None:
    """End a worker at once, the hard way if need be."""
    worker.tell(Order.LEAVE)
    try:
        async with asyncio.timeout(LEAVE_TIMEOUT):
            await worker.process.wait()
    except TimeoutError:
        worker.process.kill()
        await worker.process.wait()
