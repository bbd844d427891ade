"""`swr-gateway check-config`."""

from __future__ import annotations

import asyncio
import json
import sys

import click

from gateway.cli.help import option_of
from gateway.cli.options import SettingsCommand, with_settings
from gateway.cli.terminal import find_terminal
from gateway.core.errors import GatewayError
from gateway.core.tokens import is_token
from gateway.settings.environment import find_notes
from gateway.settings.model import SECRETS, Auth, Settings
from gateway.start_errors import BadFileError

_of_the_call = option_of("One request")


@click.command(
    "check-config",
    cls=SettingsCommand,
    examples=(
        "swr-gateway check-config --config gateway.toml",
        "swr-gateway check-config --region cn-north-4 --auth aksk --call",
    ),
)
@_of_the_call("--call", is_flag=True, help="Ask the upstream for one repository too, and say what came of it.")
@_of_the_call(
    "--caller-token",
    metavar="TOKEN",
    help="With --call and auth=passthrough: what a caller would send as x-auth-token. Other users see flags: better "
    "the variable SWR_GATEWAY_TOKEN.",
)
@with_settings
def command(settings: Settings, call: bool, caller_token: str | None) -> None:
    """Print the effective settings as a TOML file for --config, secrets masked.

    Where something is wrong, print everything that is, and exit with 2.

    With --call one request goes to the upstream, signed in as a call's would be and never sent again: where it fails,
    print why and what to mend, and exit with 1.
    """
    if caller_token is not None and not (call and settings.auth is Auth.PASSTHROUGH):
        raise click.UsageError("--caller-token goes with --call and auth=passthrough")
    if caller_token and not is_token(caller_token):
        raise click.UsageError("--caller-token must be visible ASCII without blanks")
    for name, value in settings.model_dump(mode="json").items():
        if value is None and Settings.model_fields[name].default is None:
            click.echo(f"# {name} is not set")
        elif value is None:
            click.echo(f'{name} = ""')
        else:
            comment = "# " if name in SECRETS else "# TOML cannot hold it: " if _is_no_text(value) else ""
            click.echo(f"{comment}{name} = {_as_toml(value)}")
    for note in find_notes():
        click.echo(f"note: {note}", err=True)
    if call:
        _call(settings, caller_token)


def _is_no_text(value: object) -> bool:
    """Tell whether a value is a path that is no UTF-8."""
    return isinstance(value, str) and any(0xD800 <= ord(one) <= 0xDFFF for one in value)


def _as_toml(value: object) -> str:
    """Return a value as TOML, whose strings are those of JSON but that each character is one escape."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in text)


def _call(settings: Settings, caller_token: str | None) -> None:
    """Make one call; what that needs is imported for it alone, for it takes longer than all the rest."""
    from gateway.cli.outcome import answer_as_text, failure_with_remedy  # noqa: PLC0415 - see above
    from gateway.server.preflight import ask_once  # noqa: PLC0415 - see above

    if caller_token is None:
        caller_token = settings.token.get_secret_value() if settings.token else ""
    try:
        outcome = asyncio.run(ask_once(settings, caller_token))
    except BadFileError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    if isinstance(outcome.answer, GatewayError):
        click.echo(failure_with_remedy(outcome, outcome.answer, settings.auth, find_terminal(sys.stderr)), err=True)
        sys.exit(1)
    click.echo(answer_as_text(outcome, outcome.answer))
