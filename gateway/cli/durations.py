"""Durations on the command line, written as in the settings."""

from __future__ import annotations

import click

from gateway.settings.durations import read_duration


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return read_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = _Duration()
