"""Errors that stop a start."""

from __future__ import annotations

from pathlib import Path


class StartError(Exception):
    """A gateway that cannot start; the text is for operators, and names the setting."""


class BadFileError(StartError):
    """A file cannot be used; one that is read again later is no reason to stop, and keeps what it had.

    Attributes:
        path: Which one.
        problem: What is wrong with it, in words that show nothing of what it holds.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class WorkerError(StartError):
    """The first worker did not start. It has said why itself, unless it took too long."""

    def __init__(self) -> None:
        super().__init__("the first worker did not start")


class TracingError(StartError):
    """OpenTelemetry does not take what its variables say.

    Args:
        problem: Why not.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(f"tracing cannot start: OpenTelemetry does not take one of the variables OTEL_...: {problem}")


class ListenError(StartError):
    """An address that cannot be listened on.

    Args:
        setting: The flag that named it.
        address: The address.
        problem: Why not.
    """

    def __init__(self, setting: str, address: str, problem: str) -> None:
        super().__init__(f"{setting}: cannot listen on {address}: {problem}")
