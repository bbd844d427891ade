"""Command line options made of the settings: no flag can be forgotten or say something else than its setting."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from gateway.cli.help import GroupedCommand, option_of
from gateway.core.printable import cleaned
from gateway.settings.groups import setting_groups
from gateway.settings.load import SettingsError, config_file, load_settings
from gateway.settings.model import SECRETS, Settings
from gateway.settings.names import flag, variable
from gateway.settings.settings_file import Loaded
from gateway.settings.spelling import spelling

BAD_SETTINGS = 2


Command = Callable[..., None]

_of_the_file = option_of("File")
_CONFIG_HELP = "TOML file with settings; flags and environment win over it.  [SWR_GATEWAY_CONFIG]"


class SettingsCommand(GroupedCommand):
    """A command with settings: who looks for the flag of a secret is told what there is instead."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name.lstrip("-").replace("-", "_")
            if name not in SECRETS:
                raise
            instead = f"give {variable(name)}, or `{name}` in the file of --config"
            text = f"{flag(name)}: a secret has no flag, for everyone who can list processes sees flags: {instead}"
            raise click.UsageError(text, ctx) from error


def with_settings(run: Callable[..., None]) -> Command:
    """Give a command an option for each setting, and the settings themselves beside what options it has of its own.

    Bad ones are explained, all of them, with exit code 2.
    """

    @wraps(run)
    def command(settings: Settings, _: Loaded | None, **given: Any) -> None:
        run(settings, **given)

    return with_loaded_settings(command)


def with_loaded_settings(run: Callable[..., None]) -> Command:
    """Do as with_settings, and tell how they were loaded: None where no file can be read again."""

    @wraps(run)
    def command(config: Path | None, **given: Any) -> None:
        options = {name: given.pop(name) for name in Settings.model_fields if name in given}
        flags = {name: value for name, value in options.items() if value is not None}
        try:
            settings = load_settings(flags, config)
        except SettingsError as error:
            for problem in error.problems:
                click.echo(f"error: {cleaned(problem)}", err=True)
            sys.exit(BAD_SETTINGS)
        file = config_file(config)
        # A pipe can be read once only.
        run(settings, Loaded(settings, flags, file) if file and file.is_file() else None, **given)

    decorated: Command = command
    defaults = Settings.model_construct().model_dump(mode="json")
    for title, names in reversed(setting_groups().items()):
        for name in reversed(names):
            if name not in SECRETS:
                decorated = _option(title, name, defaults[name])(decorated)
    return _of_the_file("--config", type=click.Path(path_type=Path), metavar="FILE", help=_CONFIG_HELP)(decorated)


def _option(title: str, name: str, default: object) -> Callable[[Command], Command]:
    field = Settings.model_fields[name]
    notes = [f"[{variable(name)}]"]
    if default not in (None, ""):
        notes.insert(0, f"[default: {_written(default)}]")
    text = "  ".join([str(field.description), *notes])
    option = option_of(title)
    if isinstance(default, bool):
        return option(f"{flag(name)}/--no-{flag(name)[2:]}", default=None, help=text)
    word = spelling(field)
    return option(flag(name), metavar=word, shell_complete=_completion(word), help=text)


def _completion(word: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Return what completes the values that are spelled like this, for a shell."""

    def complete(_context: click.Context, _option: click.Parameter, begun: str) -> list[CompletionItem]:
        if word == "FILE":
            return [CompletionItem(begun, type="file")]
        return [CompletionItem(value) for value in word.split("|") if value.islower() and value.startswith(begun)]

    return complete


def _written(default: object) -> str:
    return ("on" if default else "off") if isinstance(default, bool) else str(default)
