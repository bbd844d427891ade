"""`swr-gateway`: finds the command and hands over."""

from __future__ import annotations

import importlib
import os
import signal
from typing import Any

import click
from click.shell_completion import CompletionItem

from gateway import __version__
from gateway.cli.help import write_lines
from gateway.cli.output import guard_streams

# gRPC's own lines on standard error are neither JSON nor meant for the people who read ours. Set before it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# What a shell says of who was ended by SIGINT.
INTERRUPTED = 128 + signal.SIGINT

# A command's name, its module, and the line that the help shows without importing it.
_COMMANDS = {
    "serve": ("gateway.cli.serve", "Run the gateway."),
    "demo": ("gateway.cli.demo", "List repositories through a gateway in front of the embedded upstream."),
    "simulate": ("gateway.cli.simulate", "Run the embedded upstream alone."),
    "list": ("gateway.cli.list_repos", "List repositories through a running gateway."),
    "check-config": ("gateway.cli.check_config", "Print the effective settings, or everything wrong with them."),
}

_EXAMPLES = (
    "swr-gateway demo                         # needs no account",
    "swr-gateway serve --region cn-north-4    # on 127.0.0.1:50051",
    "swr-gateway list --all                   # what that gateway has",
)
_COMPLETION = 'eval "$(_SWR_GATEWAY_COMPLETE=bash_source swr-gateway)"'


class _LazyCommands(click.Group):
    def __call__(self, *args: Any, **more: Any) -> Any:
        guard_streams()
        return super().__call__(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:  # it looks for likely ones among those that are imported
            raise click.NoSuchCommand(error.command_name, possibilities=_COMMANDS, ctx=ctx) from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [name for name in _COMMANDS if name.startswith(incomplete)]
        return [CompletionItem(name, help=_COMMANDS[name][1]) for name in names] or super().shell_complete(
            ctx, incomplete
        )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        return command

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_lines(formatter, "Examples", _EXAMPLES)
        write_lines(formatter, "Completion, here in bash", (_COMPLETION,))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=_LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="swr-gateway")
def main() -> None:
    """A gRPC gateway in front of Huawei Cloud SWR's REST list of image repositories."""
