"""Runs the conversions of pages beside other calls, large ones one after the other."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from gateway.core.convert import PageConverter, Steps
from gateway.core.errors import GatewayError
from gateway.core.filter import Page
from gateway.core.pages import RowPage, SerializedPage
from gateway.metrics import Metrics
from gateway.reliability.timings import Timings
from gateway.upstream.client import Answer

Result = TypeVar("Result")

# Bytes of a body. A conversion holds it up to three times, and all of them share one processor: of large ones, two at
# once would take twice the memory and end no sooner.
LARGE = 2**20


class Conversions:
    """Converts pages, letting other calls run between the steps of each.

    Args:
        converter: Knows how.
        metrics: Where the time of each is observed.
    """

    def __init__(self, converter: PageConverter, metrics: Metrics) -> None:
        self._converter = converter
        self._metrics = metrics
        self._one_large = asyncio.Lock()

    async def to_reply(self, answer: Answer, wanted: Page | None, timings: Timings) -> SerializedPage:
        """Make a reply of a page that was fetched.

        Args:
            answer: The page.
            wanted: Which one was asked for; None where none was.
            timings: Of the work that it belongs to.

        Raises:
            GatewayError: What was fetched is no page.
        """
        steps = self._converter.convert(answer.body, answer.content_range, wanted)
        return await self._run(steps, answer, timings)

    async def to_rows(self, answer: Answer, wanted: Page, timings: Timings) -> RowPage:
        """Make rows of a page that was fetched, as `to_reply` makes a reply."""
        return await self._run(self._converter.convert_rows(answer.body, answer.content_range, wanted), answer, timings)

    async def _run(self, steps: Steps[Result], answer: Answer, timings: Timings) -> Result:
        try:
            if len(answer.body) <= LARGE:
                return await self._run_steps(steps, timings)
            async with self._one_large:
                result = await self._run_steps(steps, timings)
        except GatewayError as error:
            error.attempts, error.upstream_request_id = timings.attempts, answer.request_id()
            raise
        await asyncio.sleep(0)  # gRPC is going to copy it
        return result

    async def _run_steps(self, steps: Steps[Result], timings: Timings) -> Result:
        try:
            while True:
                with timings.converting:
                    next(steps)
                await asyncio.sleep(0)
        except StopIteration as done:
            self._metrics.conversion_seconds.observe(timings.converting.seconds)
            return done.value  # type: ignore[no-any-return] # StopIteration has no type for it
