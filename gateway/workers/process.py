"""One worker as its supervisor sees it: a process, and what it last said of itself."""

from __future__ import annotations

import asyncio
import pickle
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack

from gateway.background import begin
from gateway.metrics import Family
from gateway.settings.model import Settings
from gateway.settings.settings_file import Loaded
from gateway.workers.channel import (
    Channel,
    Command,
    Counts,
    FilesRead,
    Order,
    Pulse,
    Told,
    decode_told,
    encode,
    open_pair,
)

# Seconds that a worker has to begin to serve, before the gateway goes on without it.
START_TIMEOUT = 60.0
# Seconds that a worker has to leave at once, before it is killed.
STOP_TIMEOUT = 8.0

_STARTING = Pulse(not_ready_reasons=("starting",))

Counted = Callable[[int, tuple[Family, ...]], None]


class Worker:
    """A process that serves, and what it last said of itself.

    Args:
        number: Counts from 1.
        process: The process.
        channel: The channel to it.
        counted: Told what it has counted.

    Attributes:
        number: Its number.
        process: The process.
        started: Set when it serves.
        missed_beats: How many times its supervisor has looked since it was last heard of.
    """

    def __init__(self, number: int, process: Process, channel: Channel, counted: Counted) -> None:
        self.number = number
        self.process = process
        self.started = asyncio.Event()
        self.missed_beats = 0
        self._channel = channel
        self._counted = counted
        self._pulse = _STARTING
        self._heard_at = time.monotonic()
        self._asked: deque[asyncio.Future[None]] = deque()
        self._reading: list[asyncio.Future[None]] = []
        self._listening = begin(f"listening to worker {number}", self._listen())

    def tell(self, order: Order, grace: float = 0.0) -> None:
        """Give it an order, a drain with the seconds that calls in flight have to finish."""
        self._channel.send(encode(Command(order, grace)))

    def count(self) -> asyncio.Future[None]:
        """Have it tell what it has counted; returns what is done when it has."""
        self._asked.append(asyncio.get_running_loop().create_future())
        self.tell(Order.COUNT)
        return self._asked[-1]

    def read_files(self) -> asyncio.Future[None]:
        """Have it read files again that changed; returns what is done when it has."""
        self._reading.append(asyncio.get_running_loop().create_future())
        self.tell(Order.READ_FILES)
        return self._reading[-1]

    def not_ready_reasons(self) -> tuple[str, ...]:
        """Return what keeps it from serving."""
        return self._pulse.not_ready_reasons

    def describe(self) -> str:
        """Return how it is, in a line for operators."""
        return f"worker {self.number}: {', '.join(self._pulse.not_ready_reasons or ('ok', *self._pulse.notes))}"

    def silence(self) -> float:
        """Return the seconds since it was last heard of."""
        return time.monotonic() - self._heard_at

    async def ends(self) -> int:
        """Wait until the process has ended and all that it said was heard; return its exit code."""
        code = await self.process.wait()
        await asyncio.wait([self._listening])
        return code

    async def _listen(self) -> None:
        async for message in self._channel:
            self._hear(decode_told(message))
        for asked in (*self._asked, *self._reading):
            asked.set_result(None)
        await self._channel.close()

    def _hear(self, told: Told) -> None:
        self._heard_at = time.monotonic()
        self.missed_beats = 0
        match told:
            case Pulse():
                self._pulse = told
                self.started.set()
            case Counts():
                self._counted(self.number, told.families)
                if told.asked:
                    self._asked.popleft().set_result(None)
            case FilesRead():
                for reading in self._reading:
                    reading.set_result(None)
                self._reading.clear()


async def start_worker(number: int, settings: Settings, loaded: Loaded | None, counted: Counted) -> Worker:
    """Start a worker.

    Args:
        number: Counts from 1.
        settings: What it shall serve.
        loaded: The same as they were loaded, where there is a file of theirs to read again.
        counted: Told its number and what it has counted, now and then.

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
        )
        theirs.close()
        ends.pop_all()
    channel = await Channel.open(ours)
    channel.send(pickle.dumps((settings, loaded)))
    return Worker(number, process, channel, counted)


async def starts(worker: Worker) -> bool:
    """Wait until a worker serves, has ended, or takes too long; tell whether it serves."""
    started, ended = (asyncio.ensure_future(one) for one in (worker.started.wait(), worker.process.wait()))
    await asyncio.wait((started, ended), timeout=START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
    ended.cancel()
    return worker.started.is_set()


async def stop_now(worker: Worker) -> None:
    """End a worker at once, the hard way if need be."""
    worker.tell(Order.STOP_NOW)
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await worker.process.wait()
    except TimeoutError:
        worker.process.kill()
    await worker.ends()
