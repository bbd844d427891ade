"""`swr-gateway simulate`."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from aiohttp import web
from click.core import ParameterSource

from gateway.cli.durations import DURATION
from gateway.cli.help import GroupedCommand, option_of
from gateway.settings.addresses import check_host_port, is_loopback
from gateway.settings.names import flag
from gateway.simulator.access import Access, Authenticator
from gateway.simulator.app import Faults, Malformed, make_app, running
from gateway.simulator.data import DEFAULT_COUNT, Repository, default_repositories, load_repositories
from gateway.simulator.error_answers import Rejection, Shape

# Where the first is given, one of the others must be: it does nothing without.
_TOGETHER = (
    ("access_key", ("secret_key",)),
    ("secret_key", ("access_key",)),
    ("security_token", ("access_key",)),
    ("username", ("password",)),
    ("password", ("username",)),
    ("token_life", ("username",)),
    ("token_dies", ("username",)),
    ("token_rejection", ("token", "access_key", "username")),
)
# Where the first is given, the second does nothing.
_INSTEAD = (("data", "repos"), ("error_status", "malformed"))

_of_the_upstream, _of_the_credential = option_of("The upstream"), option_of("Who is let in")
_of_faults, _of_oddities = option_of("Faults"), option_of("Oddities that regions have")


@click.command(
    "simulate",
    cls=GroupedCommand,
    examples=(
        "swr-gateway simulate",
        "swr-gateway simulate --listen 127.0.0.1:8081 --repos 25000 --latency 50ms",
        "swr-gateway simulate --error-status 429",
    ),
)
@_of_the_upstream("--listen", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="HTTP address.")
@_of_the_upstream(
    "--data", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="JSON with records of your own."
)
@_of_the_upstream(
    "--repos",
    type=click.IntRange(0),
    default=DEFAULT_COUNT,
    show_default=True,
    metavar="NUMBER",
    help="Repositories to make up; a partner shares a tenth as many beside them.",
)
@_of_the_credential("--token", default="", help="Requests with this X-Auth-Token.")
@_of_the_credential("--access-key", default="", help="Requests that are signed with this key and --secret-key.")
@_of_the_credential("--secret-key", default="", help="What belongs to --access-key. Invent one: other users see flags.")
@_of_the_credential("--security-token", default="", help="What belongs to --access-key if it is a temporary one.")
@_of_the_credential("--username", default="", help="Tokens that /v3/auth/tokens issued to this user.")
@_of_the_credential("--password", default="", help="Password of --username. Invent one: other users see flags.")
@_of_the_credential(
    "--token-life", type=DURATION, default="24h", show_default=True, metavar="DURATION", help="Life of issued tokens."
)
@_of_the_credential(
    "--token-dies",
    type=DURATION,
    default=0.0,
    metavar="DURATION",
    help="Time after which issued tokens are refused, however long they live: as where a password was changed.",
)
@_of_the_credential(
    "--token-rejection",
    type=click.Choice([rejection.value for rejection in Rejection]),
    default=None,
    metavar="WORDS",
    help=f"Words of the 401 for a token that is not let in: {', '.join(Rejection)}.",
)
@_of_faults("--latency", type=DURATION, default=0.0, metavar="DURATION", help="Time before each answer, as in 50ms.")
@_of_faults(
    "--error-status",
    type=click.IntRange(200, 599),
    default=None,
    metavar="STATUS",
    help="HTTP status of every answer.",
)
@_of_faults(
    "--error-shape",
    type=click.Choice([shape.value for shape in Shape]),
    default=Shape.LIST.value,
    show_default=True,
    metavar="SHAPE",
    help=f"Shape of the body of ordered errors and of 400: {', '.join(Shape)}.",
)
@_of_faults(
    "--malformed",
    type=click.Choice([kind.value for kind in Malformed]),
    default=None,
    metavar="FAULT",
    help=f"What is wrong with every page: {', '.join(Malformed)}.",
)
@_of_oddities("--content-range/--no-content-range", default=True, help="Whether pages carry Content-Range.")
@_of_oddities(
    "--page-cap",
    type=click.IntRange(1),
    default=None,
    metavar="NUMBER",
    help="Most records of a page, whatever its limit.",
)
@_of_oddities(
    "--hide-every",
    type=click.IntRange(1),
    default=None,
    metavar="NUMBER",
    help="Hide each Nth record, though offsets and total count it.",
)
@_of_oddities("--multiples-only", is_flag=True, help="Refuse offsets that are no multiples of the limit.")
@_of_oddities("--odd-values", is_flag=True, help="Spell values oddly: 1.0, in strings, half of a surrogate pair.")
def command(
    listen: str,
    data: Path | None,
    repos: int,
    latency: float,
    error_status: int | None,
    error_shape: str,
    malformed: str | None,
    content_range: bool,
    page_cap: int | None,
    hide_every: int | None,
    multiples_only: bool,
    token_rejection: str | None,
    odd_values: bool,
    **access: Any,
) -> None:
    """Run the embedded upstream: SWR's list of image repositories, with faults on demand, until SIGTERM or SIGINT.

    It lets everyone in unless it is told whom: by token, by signature, or by a token of its own identity service.
    """
    _refuse_what_does_nothing(click.get_current_context())
    try:
        check_host_port(listen, "must be host:port")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--listen") from error
    host, _, port = listen.rpartition(":")
    faults = Faults(
        latency,
        error_status or 0,
        Shape(error_shape),
        Malformed(malformed) if malformed else None,
        content_range,
        page_cap=page_cap or 0,
        hide_every=hide_every or 0,
        multiples_only=multiples_only,
        rejection=Rejection(token_rejection) if token_rejection else None,
        odd_values=odd_values,
    )
    allowed = Access(**access)
    repositories = _repositories(data, repos)
    app = make_app(repositories, faults, Authenticator(allowed))
    try:
        asyncio.run(_simulate(app, repositories, allowed, host.strip("[]"), int(port)))
    except OSError as error:
        # asyncio wraps what the system says in words of its own; what a resolver says has a number below 0.
        problem = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        click.echo(f"error: --listen: cannot listen on {listen}: {problem}", err=True)
        sys.exit(1)


def _refuse_what_does_nothing(context: click.Context) -> None:
    given = {
        name
        for name, value in context.params.items()
        if value not in ("", None) and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    for name, others in _TOGETHER:
        if name in given and given.isdisjoint(others):
            needed = " or ".join(map(flag, others))
            raise click.BadParameter(f"must be given together with {needed}", param_hint=flag(name))
    for name, other in _INSTEAD:
        if {name, other} <= given:
            raise click.BadParameter(f"does nothing where {flag(name)} is given", param_hint=flag(other))


def _repositories(data: Path | None, count: int) -> list[Repository]:
    if data is None:
        return default_repositories(count)
    try:
        return load_repositories(data)
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else error
        raise click.BadParameter(f"cannot use {data}: {problem}", param_hint="--data") from error


async def _simulate(app: web.Application, repositories: list[Repository], access: Access, host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(app, host, port) as url:
        own = sum(repository.center == "self" for repository in repositories)
        click.echo(f"{own} repositories on {url}")
        if shared := len(repositories) - own:
            click.echo(f"{shared} more are a partner's, which `swr-gateway list --center thirdparty` lists")
        click.echo(f"In another terminal: {how_to_serve(url, access)}")
        await stop.wait()


def how_to_serve(url: str, access: Access) -> str:
    """Return the command of a gateway that is let in."""
    url = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    serve = f"swr-gateway serve --upstream-url {url}"
    if not (access.is_open or is_loopback(urlsplit(url).hostname or "")):
        serve += " --allow-insecure"  # it would not send a credential there else
    if access.username:
        user = f"--iam-username {shlex.quote(access.username)} --iam-domain any --iam-project any"
        return f"SWR_GATEWAY_IAM_PASSWORD=... {serve} --auth iam --iam-url {url} {user}"
    if access.access_key:
        temporary = " SWR_GATEWAY_SECURITY_TOKEN=..." if access.security_token else ""
        return f"SWR_GATEWAY_ACCESS_KEY=... SWR_GATEWAY_SECRET_KEY=...{temporary} {serve} --auth aksk"
    return f"{serve} --auth {'passthrough' if access.token else 'none'}"
