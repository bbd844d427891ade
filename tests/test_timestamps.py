"""RFC 3339 text to the seconds and nanoseconds of a Timestamp."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.timestamps import parse_time

READABLE = {
    "the reference page's, to the nanosecond": ("2017-09-11T03:00:02.542841141Z", (1_505_098_802, 542_841_141)),
    "no fraction": ("2017-01-01T00:00:00Z", (1_483_228_800, 0)),
    "one digit": ("2020-02-29T12:00:00.5Z", (1_582_977_600, 500_000_000)),
    "three digits": ("2025-11-03T01:02:03.123Z", (1_762_131_723, 123_000_000)),
    "leading zeros": ("2026-01-01T00:00:00.000000001Z", (1_767_225_600, 1)),
    "trailing zeros": ("2026-01-01T12:00:00.100000000Z", (1_767_268_800, 100_000_000)),
    "more than nine digits": ("2017-01-01T00:00:00.1234567899999Z", (1_483_228_800, 123_456_789)),
    "the epoch": ("1970-01-01T00:00:00Z", (0, 0)),
    "before the epoch": ("1969-12-31T23:59:59.25Z", (-1, 250_000_000)),
    "the first moment": ("0001-01-01T00:00:00Z", (-62_135_596_800, 0)),
    "the last moment": ("9999-12-31T23:59:59.999999999Z", (253_402_300_799, 999_999_999)),
    "east of UTC": ("2017-01-01T08:00:00+08:00", (1_483_228_800, 0)),
    "west of UTC": ("2016-12-31T18:30:00.5-05:30", (1_483_228_800, 500_000_000)),
    "an offset of nothing": ("2017-01-01T00:00:00+00:00", (1_483_228_800, 0)),
    "an unknown offset": ("2017-01-01T00:00:00-00:00", (1_483_228_800, 0)),
    "the first moment by its zone": ("0001-01-01T00:01:00+00:01", (-62_135_596_800, 0)),
    "the last moment by its zone": ("9999-12-31T23:58:59-00:01", (253_402_300_799, 0)),
    "lower case": ("2017-01-01t00:00:00z", (1_483_228_800, 0)),
    "a blank in the middle": ("2017-01-01 00:00:00Z", (1_483_228_800, 0)),
}

UNREADABLE = {
    "empty": "",
    "words": "yesterday",
    "a date": "2017-01-01",
    "no zone": "2017-01-01T00:00:00",
    "no seconds": "2017-01-01T00:00Z",
    "no digits behind the point": "2017-01-01T00:00:00.Z",
    "a comma": "2017-01-01T00:00:00,5Z",
    "a zone of hours alone": "2017-01-01T00:00:00+08",
    "a zone without a colon": "2017-01-01T00:00:00+0800",
    "a zone's name": "2017-01-01T00:00:00 CST",
    "a zone of a day": "2017-01-01T00:00:00+24:00",
    "a zone of sixty minutes": "2017-01-01T00:00:00+01:60",
    "no thirtieth of February": "2017-02-30T00:00:00Z",
    "no leap year": "2017-02-29T00:00:00Z",
    "month 13": "2017-13-01T00:00:00Z",
    "day 0": "2017-01-00T00:00:00Z",
    "hour 24": "2017-01-01T24:00:00Z",
    "minute 60": "2017-01-01T00:60:00Z",
    "a leap second": "2016-12-31T23:59:60Z",
    "year 0": "0000-01-01T00:00:00Z",
    "five digits of a year": "12017-01-01T00:00:00Z",
    "before the first moment by its zone": "0001-01-01T00:00:59+00:01",
    "behind the last moment by its zone": "9999-12-31T23:59:00-00:01",
    "a blank behind it": "2017-01-01T00:00:00Z ",
    "a line break behind it": "2017-01-01T00:00:00Z\n",
    "digits of another script": "२०१७-01-01T00:00:00Z",
    "seconds since 1970": "1483228800",
    "Go's zero of another kind": "0001-01-01 00:00:00 +0000 UTC",
}


@pytest.mark.parametrize(("text", "time"), READABLE.values(), ids=READABLE)
def test_a_readable_time_keeps_its_nanoseconds(text: str, time: tuple[int, int]) -> None:
    assert parse_time(text) == time


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_time_is_none(text: str) -> None:
    assert parse_time(text) is None


@st.composite
def times(draw: st.DrawFn) -> str:
    # A day short of both ends, so that no zone leads out of what a Timestamp can hold.
    day = timedelta(days=1)
    time = draw(st.datetimes(datetime.min + day, datetime.max - day)).isoformat(timespec="seconds")  # noqa: DTZ901
    fraction = draw(st.just("") | st.from_regex(r"\.[0-9]{1,9}", fullmatch=True))
    zone = draw(st.just("Z") | st.from_regex(r"[+-]([01][0-9]|2[0-3]):[0-5][0-9]", fullmatch=True))
    return time + fraction + zone


@given(times())
def test_a_time_is_what_protobuf_makes_of_it(text: str) -> None:
    timestamp = Timestamp()
    timestamp.FromJsonString(text)
    assert parse_time(text) == (timestamp.seconds, timestamp.nanos)


@given(st.text() | times() | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*)?([+-]\d\d:\d\d)?", fullmatch=True))
def test_any_text_is_none_or_fits_a_timestamp(text: str) -> None:
    time = parse_time(text)
    if time is not None:
        Timestamp(seconds=time[0], nanos=time[1]).ToJsonString()  # raises for what is out of range
