"""One worker: a gateway that listens on shared ports and does as its supervisor says.

Started as `python -m gateway.workers.worker NUMBER DESCRIPTOR`, with the settings as the first message of the channel:
a command line would show them to everyone who can list processes.
"""

from __future__ import annotations

import asyncio
import gc
import pickle
import signal
import socket
import sys

import click
import msgspec
from prometheus_client import values

from gateway.files.reloading import BadFileError
from gateway.logs import configure_logging
from gateway.server.errors import StartError
from gateway.server.gateway import Gateway
from gateway.server.heart import BEAT
from gateway.settings.model import Settings
from gateway.stderr import queue_stderr
from gateway.workers.channel import LARGEST, Command, Order, Pulse, listen, say


def main(number: int, descriptor: int) -> None:
    """Work until told to stop, or until the supervisor is gone."""
    # A terminal sends them to all processes; they are the supervisor's.
    for number_of in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number_of, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as end:
        settings: Settings = pickle.loads(end.recv(LARGEST))  # noqa: S301 - of our own supervisor
        queue_stderr()
        configure_logging(settings.log_level, settings.log_format, worker=number)
        # Who takes the place of one that died goes on with its counters, so their files do not pile up.
        values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call] # untyped there
        try:
            asyncio.run(_work(settings, end))
        except (StartError, BadFileError) as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(1)
        except asyncio.CancelledError:
            sys.exit(1)


async def _work(settings: Settings, end: socket.socket) -> None:
    stop, hide = asyncio.Event(), asyncio.Event()
    working = asyncio.current_task()
    assert working is not None
    gateway = Gateway(settings, shares_port=True)

    def heard(message: bytes) -> None:
        if not message:  # the supervisor is gone
            stop.set()
            return
        command = msgspec.json.decode(message, type=Command)
        match command.order:
            case Order.READ_FILES:
                gateway.look_at_files()
            case Order.HIDE:
                hide.set()
            case Order.DRAIN:
                gateway.drain_delay, gateway.drain_grace = 0.0, command.grace
                stop.set()
            case Order.LEAVE if stop.is_set():
                working.cancel()
            case Order.LEAVE:
                gateway.drain_delay = gateway.drain_grace = 0.0
                stop.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with gateway:
        gc.freeze()
        listen(end, heard)
        tasks = asyncio.create_task(_tell(gateway, end)), asyncio.create_task(_hide(gateway, hide))
        await stop.wait()
    for task in tasks:
        task.cancel()


async def _tell(gateway: Gateway, end: socket.socket) -> None:
    """Tell the supervisor how it is, until cancelled."""
    while True:
        say(end, msgspec.json.encode(Pulse(gateway.hindrances(), gateway.remarks())))
        await asyncio.sleep(BEAT)


async def _hide(gateway: Gateway, hide: asyncio.Event) -> None:
    await hide.wait()
    await gateway.hide()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
