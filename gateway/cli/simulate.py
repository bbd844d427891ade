"""`swr-gateway simulate`."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import click

from gateway.cli.durations import DURATION
from gateway.settings.types import LAST_PORT
from gateway.simulator.app import Faults, Malformed, Shape, make_app, running
from gateway.simulator.data import DEFAULT_COUNT, Repository, default_repositories, load_repositories


@click.command("simulate")
@click.option("--listen", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="HTTP address.")
@click.option("--data", type=click.Path(path_type=Path, dir_okay=False), help="JSON file with records of your own.")
@click.option(
    "--repos", type=click.IntRange(0), default=DEFAULT_COUNT, show_default=True, help="Repositories to make up."
)
@click.option("--token", default="", help="Let in only requests with this X-Auth-Token.")
@click.option("--latency", type=DURATION, default=0.0, metavar="DURATION", help="Time before each answer, as in 50ms.")
@click.option("--error-status", type=click.IntRange(200, 599), default=None, help="HTTP status of every answer.")
@click.option(
    "--error-shape",
    type=click.Choice([shape.value for shape in Shape]),
    default=Shape.LIST.value,
    show_default=True,
    help="Shape of the body of ordered errors and of 400.",
)
@click.option(
    "--malformed",
    type=click.Choice([kind.value for kind in Malformed]),
    default=None,
    help="What is wrong with every page.",
)
@click.option("--content-range/--no-content-range", default=True, help="Whether pages carry Content-Range.")
def command(
    listen: str,
    data: Path | None,
    repos: int,
    token: str,
    latency: float,
    error_status: int | None,
    error_shape: str,
    malformed: str | None,
    content_range: bool,
) -> None:
    """Run the embedded upstream: SWR's list of image repositories, with faults on demand, until SIGTERM or SIGINT."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > LAST_PORT:
        raise click.BadParameter("must be host:port", param_hint="--listen")
    faults = Faults(
        latency,
        error_status or 0,
        Shape(error_shape),
        Malformed(malformed) if malformed else None,
        content_range,
        token,
    )
    try:
        asyncio.run(_simulate(_repositories(data, repos), faults, host.strip("[]"), int(port)))
    except OSError as error:
        click.echo(f"error: --listen: cannot listen on {listen}: {error.strerror}", err=True)
        sys.exit(1)


def _repositories(data: Path | None, count: int) -> list[Repository]:
    if data is None:
        return default_repositories(count)
    try:
        return load_repositories(data)
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"cannot use {data}: {error}", param_hint="--data") from error


async def _simulate(repositories: list[Repository], faults: Faults, host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(make_app(repositories, faults), host, port) as url:
        auth = "--auth passthrough" if faults.token else "--auth none"
        click.echo(f"{len(repositories)} repositories on {url}")
        click.echo(f"In another terminal: swr-gateway serve --upstream-url {url} {auth}")
        await stop.wait()
