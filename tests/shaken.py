"""A pytest plugin: event loops that take what is ready in any order and in parts, and stand still now and then.

A busy machine does the same, but seldom. A test that fails with it holds to an order that nobody promised, to a time
that may pass, or has found a fault. `make test-shaken` runs all tests with it.
"""

from __future__ import annotations

import random
import selectors
import time
from typing import Any

# How often only some of what is ready is taken, and how often a loop stands still, for how many seconds at the most.
IN_PARTS = 0.4
STANDS_STILL = 0.02
LONGEST = 0.05

# Of its own: pytest-randomly sets the other one to the same state before each test.
_RANDOM = random.Random()


class ShakenSelector(selectors.EpollSelector):
    """What it leaves out is ready at the next turn too."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
        ready = super().select(timeout)
        _RANDOM.shuffle(ready)
        if _RANDOM.random() < STANDS_STILL:
            time.sleep(_RANDOM.uniform(0, LONGEST))
        if len(ready) > 1 and _RANDOM.random() < IN_PARTS:
            return ready[: _RANDOM.randrange(1, len(ready))]
        return ready


selectors.DefaultSelector = ShakenSelector  # type: ignore[assignment,misc] # asyncio looks it up for each new loop
