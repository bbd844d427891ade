"""One worker: a gateway that listens on shared ports and does as its supervisor says.

Started as `python -m gateway.workers.worker NUMBER DESCRIPTOR`, with the settings as the first message of the channel:
a command line would show them to everyone who can list processes.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import itertools
import pickle
import signal
import socket
import sys
from contextlib import AsyncExitStack

import click

from gateway.allocator import keep_freed_memory
from gateway.background import background
from gateway.logs import configure_logging
from gateway.server.gateway import Gateway
from gateway.settings.model import Settings
from gateway.settings.settings_file import Loaded
from gateway.start_errors import StartError
from gateway.stderr import queue_stderr
from gateway.telemetry.loop_monitor import BEAT
from gateway.threads import leave_threads_behind
from gateway.workers.channel import (
    Channel,
    Command,
    Counts,
    FilesRead,
    Order,
    Pulse,
    decode_command,
    encode,
    read_first,
)
from gateway.workers.hanging import WHERE

# How often it tells what it counted without being asked: what was counted since then is lost with a process that is
# killed.
BEATS_PER_COUNT = 20


def main(number: int, descriptor: int) -> None:
    """Work until told to stop, or until the supervisor is gone."""
    # A terminal sends them to all processes; they are the supervisor's.
    for number_of in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number_of, signal.SIG_IGN)
    if sys.__stderr__ is not None:
        faulthandler.register(WHERE, sys.__stderr__)
    end = socket.socket(fileno=descriptor)
    settings: Settings
    loaded: Loaded | None
    settings, loaded = pickle.loads(read_first(end))  # noqa: S301 - of our own supervisor
    keep_freed_memory()
    queue_stderr()
    configure_logging(settings.log_level, settings.log_format, worker=number)
    try:
        asyncio.run(_work(settings, loaded, end))
    except StartError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except asyncio.CancelledError:
        sys.exit(1)


async def _work(settings: Settings, loaded: Loaded | None, end: socket.socket) -> None:
    leave_threads_behind()
    channel = await Channel.open(end)
    try:
        await _Work(Gateway(settings, loaded=loaded, shares_port=True), channel).work()
    finally:
        await channel.close()


class _Work:
    """A gateway that does as its supervisor says."""

    def __init__(self, gateway: Gateway, channel: Channel) -> None:
        self._gateway = gateway
        self._channel = channel
        self._stop, self._hide, self._read = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._working = asyncio.current_task()

    async def work(self) -> None:
        """Serve until told to stop, or until the supervisor is gone."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop.set)
        async with AsyncExitStack() as stack, self._gateway:
            gc.freeze()
            await stack.enter_async_context(background("orders of the supervisor", self._obey()))
            await stack.enter_async_context(background("reports to the supervisor", self._tell()))
            await stack.enter_async_context(background("saying NOT_SERVING", self._hide_when_told()))
            await stack.enter_async_context(background("reading files again", self._read_when_told()))
            await self._stop.wait()
        self._count(asked=False)

    async def _obey(self) -> None:
        async for message in self._channel:
            self._do(decode_command(message))
        self._stop.set()  # the supervisor is gone

    def _do(self, command: Command) -> None:
        gateway = self._gateway
        match command.order:
            case Order.READ_FILES:
                self._read.set()
            case Order.COUNT:
                self._count(asked=True)
            case Order.HIDE:
                self._hide.set()
            case Order.DRAIN:
                gateway.drain_delay, gateway.drain_grace = 0.0, command.grace
                self._stop.set()
            case Order.STOP_NOW if self._stop.is_set() and self._working:
                self._working.cancel()
            case Order.STOP_NOW:
                gateway.drain_delay = gateway.drain_grace = 0.0
                self._stop.set()

    async def _tell(self) -> None:
        """Tell the supervisor how it is, and now and then what it counted, until cancelled."""
        for beat in itertools.count():
            if not self._channel.is_behind:
                self._channel.send(encode(Pulse(self._gateway.not_ready_reasons(), self._gateway.notes())))
                if beat % BEATS_PER_COUNT == 0:
                    self._count(asked=False)
            await asyncio.sleep(BEAT)

    def _count(self, *, asked: bool) -> None:
        self._channel.send(encode(Counts(self._gateway.counts(), asked)))

    async def _hide_when_told(self) -> None:
        await self._hide.wait()
        await self._gateway.hide()

    async def _read_when_told(self) -> None:
        while True:
            await self._read.wait()
            self._read.clear()
            await self._gateway.read_files()
            self._channel.send(encode(FilesRead()))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
