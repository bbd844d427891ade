"""`swr-gateway serve`."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import signal
import sys
from typing import TYPE_CHECKING

import click

from gateway.allocator import keep_freed_memory
from gateway.background import background
from gateway.cli.options import SettingsCommand, with_loaded_settings
from gateway.logs import configure_logging
from gateway.settings.environment import find_notes
from gateway.settings.model import Settings
from gateway.settings.settings_file import Loaded
from gateway.start_errors import StartError, WorkerError
from gateway.stderr import queue_stderr
from gateway.systemd import ServiceManager
from gateway.threads import leave_threads_behind

if TYPE_CHECKING:
    from gateway.server.gateway import Gateway
    from gateway.workers.supervisor import Supervisor

_log = logging.getLogger(__name__)


@click.command(
    "serve",
    cls=SettingsCommand,
    examples=(
        "swr-gateway serve --region cn-north-4",
        "swr-gateway serve --upstream-url http://127.0.0.1:8080 --auth none",
        "swr-gateway serve --config gateway.toml --timeout 10s --prefetch-bytes 16MiB",
    ),
)
@with_loaded_settings
def command(settings: Settings, loaded: Loaded | None) -> None:
    """Run the gateway until SIGTERM or SIGINT, which drain it; a second one leaves at once.

    On SIGHUP it reads certificates, keys and tokens that have changed again, and secrets in the file of --config, and
    logs what was read again, what is unchanged and what needs a restart. It does so by itself every few seconds too.

    Settings come from flags, from the environment variables named in brackets, and from a TOML file, in this order.
    A DURATION is written 500ms, 15s or 2m, a SIZE 65536, 512KiB or 64MiB.

    Secrets have no flags, for everyone who can list processes sees flags: SWR_GATEWAY_TOKEN, SWR_GATEWAY_ACCESS_KEY,
    SWR_GATEWAY_SECRET_KEY, SWR_GATEWAY_SECURITY_TOKEN, SWR_GATEWAY_IAM_PASSWORD.
    """
    keep_freed_memory()
    queue_stderr()
    configure_logging(settings.log_level, settings.log_format)
    for note in find_notes():
        _log.warning(note)
    try:
        asyncio.run(_serve(settings, loaded))
    except (WorkerError, asyncio.CancelledError):
        sys.exit(1)
    except StartError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


async def _serve(settings: Settings, loaded: Loaded | None) -> None:
    """Serve until a signal, which drains; a second one cancels the drain."""
    leave_threads_behind()
    stop, hang_up = asyncio.Event(), asyncio.Event()
    systemd = ServiceManager()
    if systemd.feeds_watchdog and sys.__stderr__ is not None:
        # With SIGABRT the watchdog ends a loop that stands still: standard error has where it stands.
        faulthandler.enable(sys.__stderr__)
    serving = asyncio.current_task()
    assert serving is not None

    def on_signal() -> None:
        if stop.is_set():
            serving.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    loop.add_signal_handler(signal.SIGHUP, hang_up.set)
    async with background("the watchdog of systemd", systemd.feed_watchdog()), _make(settings, loaded) as running:
        # What was imported lives as long as the process: no collection needs to look at it again.
        gc.freeze()
        systemd.ready()
        async with background("files on SIGHUP", _read_files(running, hang_up, systemd)):
            await stop.wait()
        systemd.stopping()


async def _read_files(running: Gateway | Supervisor, hang_up: asyncio.Event, systemd: ServiceManager) -> None:
    """Read files again on each SIGHUP, until cancelled."""
    while True:
        await hang_up.wait()
        hang_up.clear()
        systemd.reloading()
        await running.read_files()
        systemd.ready()


def _make(settings: Settings, loaded: Loaded | None) -> Gateway | Supervisor:
    """Return what runs, and import no more than that: a supervisor does without gRPC, and without its memory."""
    if settings.workers > 1:
        from gateway.workers.supervisor import Supervisor  # noqa: PLC0415 - see above

        return Supervisor(settings, loaded)
    from gateway.server.gateway import Gateway  # noqa: PLC0415 - see above

    return Gateway(settings, loaded=loaded)
