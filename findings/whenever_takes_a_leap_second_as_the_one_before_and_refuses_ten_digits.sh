#!/usr/bin/env bash
# whenever 0.11: `Instant.parse_iso` takes a leap second as the second before it, and refuses a tenth digit.
#
# Of six parsers of RFC 3339 no two agree on these twelve texts. Who takes whenever for its nanoseconds, next to
# protobuf's alone, gets other rules with them: `23:59:60Z` is the instant of `23:59:59Z`, two texts that sort apart and
# compare equal, where all the others refuse it; ten digits, which msgspec, pydantic, ciso8601 and pendulum cut, are an
# error; and no seconds, a comma, no colons and no dashes pass. protobuf refuses the small letters and the blank that
# RFC 3339 allows, msgspec the comma that ISO 8601 prefers.
#
# Seen with the versions below on CPython 3.11 and Linux. Fails should one of them read a text otherwise.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check whenever==0.11.0 protobuf==7.36.2 \
    msgspec==0.22.0 pydantic==2.13.3 ciso8601==2.4.1 pendulum==3.3.0
"$folder/venv/bin/python" - <<'PYTHON'
from collections.abc import Callable
from datetime import datetime

import ciso8601
import msgspec
import pendulum
import pydantic
from google.protobuf.timestamp_pb2 import Timestamp
from whenever import Instant

ADAPTER = pydantic.TypeAdapter(datetime)


def microseconds(time: datetime) -> int:
    return round(time.timestamp() * 1e6)


def protobuf(text: str) -> int:
    timestamp = Timestamp()
    timestamp.FromJsonString(text)
    return timestamp.ToMicroseconds()


PARSERS: dict[str, Callable[[str], int]] = {
    "whenever": lambda text: Instant.parse_iso(text).timestamp(unit="nanosecond") // 1000,
    "protobuf": protobuf,
    "msgspec": lambda text: microseconds(msgspec.json.decode(f'"{text}"', type=datetime)),
    "pydantic": lambda text: microseconds(ADAPTER.validate_python(text)),
    "ciso8601": lambda text: microseconds(ciso8601.parse_rfc3339(text)),
    "pendulum": lambda text: microseconds(pendulum.parse(text)),
}
SECOND = 1_505_098_802
# Each text, who takes it, by the first letters of their names, and as which second and microsecond.
TEXTS = {
    "2017-09-11T03:00:02Z": ("wh pr ms py ci pe", SECOND, 0),
    "2017-09-11T03:00:02.542841141Z": ("wh pr ms py ci pe", SECOND, 542_841),
    "2017-09-11T03:00:02.5428411419Z": ("ms py ci pe", SECOND, 542_841),
    "2017-09-11T03:00:02,5Z": ("wh py pe", SECOND, 500_000),
    "2017-09-11T03:00Z": ("wh py pe", SECOND - 2, 0),
    "2016-12-31T23:59:60Z": ("wh", 1_483_228_799, 0),
    "2017-09-11t03:00:02z": ("wh ms py ci", SECOND, 0),
    "2017-09-11 03:00:02Z": ("wh ms py ci pe", SECOND, 0),
    "2017-09-11T03:00:02+08:00": ("wh pr ms py ci pe", SECOND - 8 * 3600, 0),
    "2017-09-11T03:00:02+0800": ("wh ms py pe", SECOND - 8 * 3600, 0),
    "20170911T030002Z": ("wh pe", SECOND, 0),
    "2017-09-11T24:00:00Z": ("", 0, 0),
}

changed = False
print(f"{'seconds of the day':32}" + "".join(f"{name:>14}" for name in PARSERS))
for text, (takers, seconds, rest) in TEXTS.items():
    cells: list[str] = []
    for name, parse in PARSERS.items():
        try:
            seen = parse(text)
        except (ValueError, msgspec.ValidationError):
            seen = None
        expected = seconds * 10**6 + rest if name[:2] in takers.split() else None
        changed |= seen != expected
        cells.append("-" if seen is None else f"{seen // 10**6 % 86_400}.{seen % 10**6:06}")
    print(f"{text:32}" + "".join(f"{cell:>14}" for cell in cells))
assert not changed, "a parser reads a text otherwise than it did"
PYTHON
