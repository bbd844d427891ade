"""RFC 3339 text to seconds and nanoseconds.

Not by `datetime`, which ends at microseconds: the upstream reports nanoseconds.
"""

from __future__ import annotations

import re

from whenever import Instant

# The parser takes more than RFC 3339 has: no seconds, a comma, no colons, and a leap second as the one before it. Only
# the day of the month is left to it.
_DATE_AND_TIME = r"\d{4}-\d\d-\d\d[Tt ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_ZONE = r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
_RFC_3339 = re.compile(rf"{_DATE_AND_TIME}(?:\.\d{{1,9}})?{_ZONE}", re.ASCII)
_TOO_EXACT = re.compile(rf"({_DATE_AND_TIME}\.\d{{9}})\d+({_ZONE})", re.ASCII)
_NANOSECONDS = 10**9


def parse_time(text: str) -> tuple[int, int] | None:
    """Return seconds since 1970 UTC and nanoseconds, or None where the text is not a time a Timestamp can hold.

    Digits behind the ninth are dropped.
    """
    if not _RFC_3339.fullmatch(text):
        match = _TOO_EXACT.fullmatch(text)
        if match is None:
            return None
        text = "".join(match.groups())
    try:
        return divmod(Instant.parse_iso(text).timestamp(unit="nanosecond"), _NANOSECONDS)
    except ValueError:  # the thirtieth of February, or before or behind what a Timestamp can hold
        return None
