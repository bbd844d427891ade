"""Runs tasks beside the calls, and logs the exception that ends one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

_log = logging.getLogger(__name__)


def begin(what: str, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
    """Begin work that goes on until it is cancelled; an exception that ends it before is logged at once.

    Args:
        what: What the work is, for the log.
        work: What does it.
    """

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            _log.critical("%s: ended by an unexpected exception; restart the gateway", what, exc_info=error)

    task = asyncio.create_task(work)
    task.add_done_callback(ended)
    return task


@asynccontextmanager
async def background(what: str, work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Do work for the time of a `with` block; what ends it before does not reach whoever leaves the block."""
    task = begin(what, work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
