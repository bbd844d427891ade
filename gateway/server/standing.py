"""Calls that last until the caller ends them: watches of health, and reflection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gateway.core.errors import GATEWAY_DRAINING, GatewayError


class StandingCalls:
    """Ends watches of health and calls of reflection at a drain, which they would hold up for its whole grace."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._end = False

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Let the call that is being served be ended.

        Raises:
            GatewayError: GATEWAY_DRAINING, where it was.
        """
        task = asyncio.current_task()
        assert task is not None
        if self._end:
            raise GatewayError(GATEWAY_DRAINING)
        self._tasks.add(task)
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):  # the latter where a message of it was being sent
            if self._end:
                raise GatewayError(GATEWAY_DRAINING) from None
            raise
        finally:
            self._tasks.discard(task)

    def end(self) -> None:
        """End them all, and those that come later."""
        self._end = True
        for task in self._tasks:
            task.cancel()
