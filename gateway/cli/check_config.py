"""`swr-gateway check-config`."""

from __future__ import annotations

import json

import click

from gateway.cli.options import SettingsCommand, with_settings
from gateway.settings.environment import find_notes
from gateway.settings.model import SECRETS, Settings


@click.command("check-config", cls=SettingsCommand)
@with_settings
def command(settings: Settings) -> None:
    """Print the effective settings as a TOML file for --config, secrets masked.

    Where something is wrong, print everything that is, and exit with 2.
    """
    for name, value in settings.model_dump(mode="json").items():
        if value is None and Settings.model_fields[name].default is None:
            click.echo(f"# {name} is not set")
        elif value is None:
            click.echo(f'{name} = ""')
        else:
            comment = "# " if name in SECRETS else ""
            click.echo(f"{comment}{name} = {json.dumps(value, ensure_ascii=False)}")
    for note in find_notes():
        click.echo(f"note: {note}", err=True)
