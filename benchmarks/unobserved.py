"""The gateway's commands with nothing that is told to operators of calls: what `benchmarks.observing` compares to.

No setting does that: who runs a service wants to see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

from gateway.cli.main import main
from gateway.core.errors import GatewayError
from gateway.server import gateway
from gateway.telemetry.call import Call, begin_call
from gateway.telemetry.tracing import NoTracing


class Nothing:
    """Metrics that count nothing."""

    def __init__(self, **_: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Self:
        return self

    def __call__(self, *_: Any, **__: Any) -> Self:
        """Return itself, whatever is asked for."""
        return self


class Nobody:
    """An observer who is not there."""

    def __init__(self, *_: Any) -> None:
        self._tracing = NoTracing()

    def begin(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> Call:
        """Begin the call, which its request id is needed of."""
        return begin_call(method, metadata, self._tracing)

    def end(self, call: Call, code: int, error: GatewayError | None, caller: Callable[[], str]) -> None:
        """Do nothing."""

    def drop(self, method: str) -> None:
        """Do nothing."""

    def unserved(self) -> None:
        """Do nothing."""


if __name__ == "__main__":
    vars(gateway).update(Metrics=Nothing, Observer=Nobody)
    main()
