"""The event loop's heartbeat: how late it comes, and since when it is missing."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback

from gateway.metrics import Metrics

# Seconds from one beat to the next, and without one until the process counts as dead: it will not get better.
BEAT = 0.25
DEAD_AFTER = 10.0

_log = logging.getLogger(__name__)


class LoopMonitor:
    """Beats on the event loop that made it.

    Args:
        metrics: Where its lateness is observed.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._thread = threading.get_ident()
        self._last = time.monotonic()
        self._reported = 0.0

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self._last = began = time.monotonic()
            await asyncio.sleep(BEAT)
            self._metrics.loop_lag_seconds.observe(max(time.monotonic() - began - BEAT, 0.0))

    def problems(self) -> tuple[str, ...]:
        """Return what is wrong, asked from another thread; the log is told where the loop stands, once a stop."""
        last = self._last
        age = time.monotonic() - last
        if age <= DEAD_AFTER:
            return ()
        if self._reported != last:
            self._reported = last
            _log.error("the event loop has not turned for %.0f s; it stands at %s", age, self._place())
        return (f"the event loop has not turned for {age:.0f} s",)

    def _place(self) -> str:
        """Return where the loop's thread stands and what called that, the innermost first, in one line."""
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - the documented way to see another thread
        stack = reversed(traceback.extract_stack(frame)) if frame else ()
        return ", called from ".join(f"{one.filename}:{one.lineno} in {one.name}" for one in stack)
