"""What keeps a gateway from starting."""

from __future__ import annotations


class StartError(Exception):
    """A gateway that cannot start; the text is for operators, and names the setting."""


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
