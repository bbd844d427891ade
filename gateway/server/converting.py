"""Runs the conversion of a page beside other calls."""

from __future__ import annotations

import asyncio
import time
from typing import TypeVar

from gateway.core.convert import Steps
from gateway.core.errors import GatewayError
from gateway.metrics import Metrics
from gateway.reliability.progress import Progress

Result = TypeVar("Result")


async def run_conversion(steps: Steps[Result], progress: Progress, metrics: Metrics) -> Result:
    """Run a conversion, letting other calls run between its steps.

    Args:
        steps: The conversion.
        progress: Of the work that it belongs to.
        metrics: Where its time is observed.

    Raises:
        GatewayError: What was fetched is no page.
    """
    try:
        while True:
            began = time.perf_counter()
            try:
                next(steps)
            finally:
                progress.converting += time.perf_counter() - began
            await asyncio.sleep(0)
    except StopIteration as done:
        metrics.conversion_seconds.observe(progress.converting)
        return done.value  # type: ignore[no-any-return] # StopIteration has no type for it
    except GatewayError as error:
        error.attempts = progress.attempts
        raise
