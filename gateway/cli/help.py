"""Help of a command: its options in groups, and examples behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

_REST = "Other options"


class GroupedOption(click.Option):
    """An option that help lists under a title of its own.

    Args:
        group: The title.
    """

    def __init__(self, *args: Any, group: str, **more: Any) -> None:
        super().__init__(*args, **more)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose help has its options in groups, in the order in which they are declared.

    Args:
        examples: Command lines, as they are typed.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **more: Any) -> None:
        super().__init__(*args, **more)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            if record := option.get_help_record(ctx):
                groups.setdefault(option.group if isinstance(option, GroupedOption) else _REST, []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        if self.examples:
            write_lines(formatter, "Examples", self.examples)


def write_lines(formatter: click.HelpFormatter, title: str, lines: Sequence[str]) -> None:
    """Write a section of lines that stay as they are."""
    with formatter.section(title):
        formatter.write("".join(f"  {line}\n" for line in lines))


def option_of(group: str) -> Callable[..., Callable[[Callable[..., None]], Callable[..., None]]]:
    """Return what declares options of a group, as `click.option` does."""

    def option(*names: str, **more: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
        return click.option(*names, cls=GroupedOption, group=group, **more)

    return option
