"""Standard output and standard error where they cannot be written to.

A failed write to standard output is one line on standard error and exit code 1, whatever was written. One to standard
error is nothing: there is nobody to tell, and the exit code stays what it is.
"""

from __future__ import annotations

import io
import os
import select
import sys
from typing import IO, Any, TextIO

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
    """A descriptor, also one that does not block: whoever shares the pipe or the terminal may have made it so."""

    def write(self, data: Any, /) -> int:
        while (written := super().write(data)) is None:
            ready = select.poll()
            ready.register(self.fileno(), select.POLLOUT)
            ready.poll()
        return written


class _Output(_File):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            # What is still buffered would be tried again when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            told = not isinstance(error, BrokenPipeError)
            raise OutputError(error.strerror or "it failed", told=told) from error


class _Errors(_File):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


class _Text(io.TextIOWrapper):
    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except UnicodeEncodeError as error:
            character = ascii(error.object[error.start])
            raise OutputError(
                f"{character} is not in its encoding, {error.encoding}; set PYTHONIOENCODING=utf-8"
            ) from error


def guard_streams() -> None:
    """Let writing to standard output raise OutputError, and writing to standard error raise nothing."""
    sys.stdout = _guarded(sys.stdout, _Output, _Text)
    sys.stderr = _guarded(sys.stderr, _Errors, io.TextIOWrapper)


def _guarded(stream: TextIO | None, raw: type[_File], text: type[io.TextIOWrapper]) -> TextIO:
    if stream is None:  # it was closed: nothing else must take its number, and be written to in its stead
        return text(io.BufferedWriter(raw(os.open(os.devnull, os.O_RDONLY), "w")), "utf-8")
    file = io.BufferedWriter(raw(stream.fileno(), "w", closefd=False))
    by_line = stream.line_buffering or raw is _Errors  # which has no such mark with PYTHONUNBUFFERED
    return text(file, encoding=stream.encoding, errors=stream.errors, line_buffering=bool(by_line))
