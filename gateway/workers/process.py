"""One worker as its supervisor sees it: a process, and what it last said of itself."""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from contextlib import ExitStack

import msgspec

from gateway.settings.model import Settings
from gateway.workers.channel import Command, Order, Pulse, deafen, listen, open_pair, say

# Seconds that a worker has to begin to serve, before the gateway goes on without it.
START_TIMEOUT = 60.0
# Seconds that a worker has to leave at once, before it is killed.
LEAVE_TIMEOUT = 8.0

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
        process: The process.
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

    def close(self) -> None:
        """Give back the channel to a process that has ended."""
        deafen(self._end)
        self._end.close()

    def _hear(self, message: bytes) -> None:
        if message:
            self._pulse = msgspec.json.decode(message, type=Pulse)
            self._heard_at = time.monotonic()
            self.started.set()


async def start_worker(number: int, settings: Settings, metrics_folder: str) -> Worker:
    """Start a worker.

    Args:
        number: Counts from 1.
        settings: What it shall serve.
        metrics_folder: Where it counts.

    Raises:
        OSError: The machine has no room for another process.
    """
    with ExitStack() as ends:
        ours, theirs = map(ends.enter_context, open_pair())
        process = await asyncio.create_subprocess_exec(
            # Not what happens to lie where the gateway was started.
            *(sys.executable, "-P", "-m", "gateway.workers.worker", str(number), str(theirs.fileno())),
            stdin=DEVNULL,
            pass_fds=(theirs.fileno(),),
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": metrics_folder},
        )
        theirs.close()
        ends.pop_all()
    return Worker(number, process, settings, ours)


async def starts(worker: Worker) -> bool:
    """Wait until a worker serves, has ended, or takes too long; tell whether it serves."""
    started, ended = (asyncio.ensure_future(one) for one in (worker.started.wait(), worker.process.wait()))
    await asyncio.wait((started, ended), timeout=START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
    ended.cancel()
    return worker.started.is_set()


async def leave(worker: Worker) -> None:
    """End a worker at once, the hard way if need be."""
    worker.tell(Order.LEAVE)
    try:
        async with asyncio.timeout(LEAVE_TIMEOUT):
            await worker.process.wait()
    except TimeoutError:
        worker.process.kill()
        await worker.process.wait()
