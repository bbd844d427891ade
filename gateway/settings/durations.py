"""Durations as people write them: `500ms`, `15s`, `2m`."""

from __future__ import annotations

import re
from decimal import Decimal

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,30})?)(ms|s|m|h)", re.ASCII)
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def read_duration(text: str) -> float:
    """Return the seconds that a text such as `500ms`, `15s` or `2m` stands for.

    Raises:
        ValueError: It stands for none.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("must be a duration such as 500ms, 15s or 2m")
    return float(match[1]) * _UNIT_SECONDS[match[2]]


def write_duration(seconds: float) -> str:
    """Write seconds so that they are read as the same number: `500ms`, `15s`."""
    for unit, size in (("s", 1.0), ("ms", 0.001)):
        if round(seconds / size) * size == seconds:
            return f"{round(seconds / size)}{unit}"
    return f"{Decimal(repr(seconds)):f}s"
