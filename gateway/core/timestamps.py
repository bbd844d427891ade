"""RFC 3339 text to seconds and nanoseconds.

Not by `datetime` alone, which ends at microseconds: the upstream reports nanoseconds.
"""

from __future__ import annotations

import re
from datetime import datetime

_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.(\d+))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))", re.ASCII
)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive on both sides of a difference is the cheapest
# google.protobuf.Timestamp: 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z.
_FIRST_SECOND = -62_135_596_800
_LAST_SECOND = 253_402_300_799


def parse_time(text: str) -> tuple[int, int] | None:
    """Return seconds since 1970 UTC and nanoseconds, or None where the text is not a time a Timestamp can hold.

    Digits behind the ninth are dropped.
    """
    match = _RFC_3339.fullmatch(text)
    if match is None:
        return None
    fraction, sign, hours, minutes = match.groups()
    try:
        since = datetime.fromisoformat(text[:19]) - _EPOCH
    except ValueError:  # the thirtieth of February, or a leap second
        return None
    seconds = since.days * 86_400 + since.seconds
    if sign:
        east = int(hours) * 3600 + int(minutes) * 60
        seconds += east if sign == "-" else -east
        if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
            return None
    return seconds, int(fraction[:9].ljust(9, "0")) if fraction else 0
