"""How long the upstream asks to wait: the Retry-After header, or the API gateway's throttling text."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

# Longer waits are not believed: gRPC's pushback is a number of milliseconds in 32 bits.
MAX_SECONDS = 86_400.0

# The end of such a text: policy user over ratelimit, limit 100, time 1 minute, in a spelling of its own.
_THROTTLED = re.compile(r"over ratelimit,limit:\d+,time:(\d{1,6}) (second|minute|hour|day)", re.ASCII)
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


def read_retry_after(header: str, message: str, now: float) -> float | None:
    """Return seconds to wait, from 0 to a day, or None where the upstream names none.

    Args:
        header: The Retry-After header: seconds, or a date (RFC 9110, section 10.2.3). What is neither is ignored.
        message: The upstream's error text. A throttling policy's period is the longest that it can hold a caller back.
        now: Seconds since 1970.
    """
    seconds = _read_header(header.strip(), now)
    if seconds is None and (match := _THROTTLED.search(message)):
        seconds = float(int(match[1]) * _UNITS[match[2]])
    return None if seconds is None else min(max(seconds, 0.0), MAX_SECONDS)


def _read_header(header: str, now: float) -> float | None:
    if header.isascii() and header.isdigit():
        return float((header.lstrip("0") or "0")[:10])
    try:
        date = parsedate_to_datetime(header)
        # A date without a zone is one of HTTP's old forms, and they are all in UTC.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, OverflowError):
        return None
