"""Until when a call is waited for."""

from __future__ import annotations

from typing import NamedTuple


class Deadline(NamedTuple):
    """When a call must be over; the later one is the greater.

    Attributes:
        at: On the event loop's clock, in seconds.
        by_caller: Whether the caller set it, rather than the gateway's own settings.
    """

    at: float
    by_caller: bool
