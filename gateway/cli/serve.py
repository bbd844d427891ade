"""`swr-gateway serve`."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys

import click

from gateway.cli.options import with_settings
from gateway.files.reloading import BadFileError
from gateway.logs import configure_logging
from gateway.server.errors import ListenError
from gateway.server.gateway import Gateway
from gateway.settings.model import Settings


@click.command("serve")
@with_settings
def command(settings: Settings) -> None:
    """Run the gateway until SIGTERM or SIGINT; a second one leaves at once.

    Settings come from flags, from the environment variables named in brackets, and from a TOML file, in this order.
    Secrets have no flags, for everyone who can list processes sees flags: SWR_GATEWAY_TOKEN, SWR_GATEWAY_ACCESS_KEY,
    SWR_GATEWAY_SECRET_KEY, SWR_GATEWAY_SECURITY_TOKEN, SWR_GATEWAY_IAM_PASSWORD.
    """
    configure_logging(settings.log_level, settings.log_format)
    try:
        asyncio.run(_serve(settings))
    except (ListenError, BadFileError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except asyncio.CancelledError:
        sys.exit(1)


async def _serve(settings: Settings) -> None:
    """The first signal drains; a second one cancels the drain."""
    stop = asyncio.Event()
    serving = asyncio.current_task()
    assert serving is not None

    def on_signal() -> None:
        if stop.is_set():
            serving.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    async with Gateway(settings):
        # What was imported lives as long as the process: no collection needs to look at it again.
        gc.freeze()
        await stop.wait()
