"""Turns a failed write to standard output into one line on standard error and exit code 1, whatever was written."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import IO, Any

import click


class OutputError(click.ClickException):
    """Standard output cannot be written to. Who stopped reading it wants to read nothing of that either."""

    def __init__(self, problem: str, *, told: bool = True) -> None:
        super().__init__(f"cannot write to standard output: {problem}")
        self._told = told

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the line."""
        if self._told:
            super().show(file)


class _File(io.FileIO):
    def write(self, data: Any, /) -> int | None:  # type: ignore[override] # None: it would have blocked
        try:
            return super().write(data)
        except OSError as error:
            # What is still buffered would be tried again when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            told = not isinstance(error, BrokenPipeError)
            raise OutputError(error.strerror or "it failed", told=told) from error


class _Text(io.TextIOWrapper):
    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except UnicodeEncodeError as error:
            character = ascii(error.object[error.start])
            raise OutputError(
                f"{character} is not in its encoding, {error.encoding}; set PYTHONIOENCODING=utf-8"
            ) from error


def guard_output() -> None:
    """Let writing to standard output raise OutputError."""
    if sys.stdout is None:  # it was closed: nothing else must take its number, and be written to in its stead
        file, encoding, errors = _File(os.open(os.devnull, os.O_RDONLY), "w"), "utf-8", "strict"
    else:
        file = _File(sys.stdout.fileno(), "w", closefd=False)
        encoding, errors = sys.stdout.encoding, sys.stdout.errors or "strict"
    buffered = io.BufferedWriter(file)
    sys.stdout = _Text(buffered, encoding=encoding, errors=errors, line_buffering=file.isatty())


def tell(line: str) -> None:
    """Write a line to standard error, where that is possible."""
    with suppress(OSError):
        click.echo(line, err=True)
