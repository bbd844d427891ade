"""Runs the conversion of a page beside other calls."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from gateway.core.convert import Steps
from gateway.core.errors import GatewayError
from gateway.reliability.progress import Progress

Result = TypeVar("Result")


async def run_conversion(steps: Steps[Result], progress: Progress) -> Result:
    """Run a conversion, letting other calls run between its steps.

    Args:
        steps: The conversion.
        progress: Of the work that it belongs to.

    Raises:
        GatewayError: What was fetched is no page.
    """
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return] # StopIteration has no type for it
        except GatewayError as error:
            error.attempts = progress.attempts
            raise
        await asyncio.sleep(0)
