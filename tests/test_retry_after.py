"""How long the upstream asks to wait."""

from __future__ import annotations

import os
import subprocess
import sys
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.retry_after import read_retry_after

NOW = 784_111_777  # Sun, 06 Nov 1994 08:49:37 GMT
DAY = 86_400

HEADERS = {
    "seconds": ("120", 120),
    "at once": ("0", 0),
    "blanks around it": (" 5\t", 5),
    "leading zeros": ("00000000005", 5),
    "a day": ("86400", DAY),
    "more than a day": ("86401", DAY),
    "more than any clock holds": ("9" * 5000, DAY),
    "a date": ("Sun, 06 Nov 1994 08:50:07 GMT", 30),
    "a date of RFC 850": ("Sunday, 06-Nov-94 08:50:07 GMT", 30),
    "a date of asctime": ("Sun Nov  6 08:50:07 1994", 30),
    "a date with a zone": ("Sun, 06 Nov 1994 16:50:07 +0800", 30),
    "this very moment": ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
    "a date in the past": ("Sun, 06 Nov 1994 08:49:36 GMT", 0),
    "a date years ahead": ("Fri, 31 Dec 9999 23:59:59 GMT", DAY),
}

UNREADABLE = {
    "absent": "",
    "blank": " ",
    "negative": "-1",
    "signed": "+5",
    "decimals": "1.5",
    "with a unit": "5s",
    "two of them": "5, 5",
    "digits of another script": "५",
    "a superscript": "²",
    "words": "soon",
    "a date that is none": "Sun, 31 Feb 1994 08:49:37 GMT",
    "a date before all dates": "Mon, 01 Jan 0001 00:00:00 +9999",
}

TEXTS = {
    "the API gateway's": (
        "The throttling threshold has been reached: policy user over ratelimit,limit:100,time:1 minute",
        60,
    ),
    "seconds": ("policy api over ratelimit,limit:5,time:30 second", 30),
    "hours": ("policy app over ratelimit,limit:100,time:2 hour", 7200),
    "a day": ("policy source over ratelimit,limit:100,time:1 day", DAY),
    "more than a day": ("policy user over ratelimit,limit:100,time:999999 day", DAY),
    "no time": ("over ratelimit,limit:100,time:0 second", 0),
}

UNRELATED_TEXTS = {
    "nothing": "",
    "another error": "Invalid filter",
    "a unit of its own": "over ratelimit,limit:100,time:1 fortnight",
    "no number": "over ratelimit,limit:100,time: minute",
    "a number without end": f"over ratelimit,limit:100,time:{'9' * 50} minute",
}


@pytest.mark.parametrize(("header", "seconds"), HEADERS.values(), ids=HEADERS)
def test_the_header_names_seconds_or_a_date(header: str, seconds: float) -> None:
    assert read_retry_after(header, "", NOW) == seconds


@pytest.mark.parametrize("header", UNREADABLE.values(), ids=UNREADABLE)
def test_any_other_header_is_ignored(header: str) -> None:
    assert read_retry_after(header, "", NOW) is None


@pytest.mark.parametrize(("message", "seconds"), TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("header", ["", "soon"])
def test_a_throttling_text_tells_its_period_where_no_header_does(header: str, message: str, seconds: float) -> None:
    assert read_retry_after(header, message, NOW) == seconds


@pytest.mark.parametrize("message", UNRELATED_TEXTS.values(), ids=UNRELATED_TEXTS)
def test_any_other_text_tells_nothing(message: str) -> None:
    assert read_retry_after("", message, NOW) is None


def test_the_header_counts_more_than_the_text() -> None:
    assert read_retry_after("7", TEXTS["the API gateway's"][0], NOW) == 7


def test_a_date_of_asctime_is_in_utc_wherever_the_gateway_runs() -> None:
    date, seconds = HEADERS["a date of asctime"]
    program = f"from gateway.core.retry_after import read_retry_after as read; print(read({date!r}, '', {NOW}))"
    environment = {**os.environ, "TZ": "CST-8"}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True)
    assert float(run.stdout) == seconds


@given(st.integers(0))
def test_any_number_of_seconds_is_kept_up_to_a_day(seconds: int) -> None:
    assert read_retry_after(str(seconds), "", NOW) == min(seconds, DAY)


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_any_date_is_a_distance_from_now(date: int, now: int) -> None:
    assert read_retry_after(formatdate(date, usegmt=True), "", now) == min(max(date - now, 0), DAY)


@given(st.text() | st.text("0123456789 ,:+-GMTNovSun"), st.text(), st.floats(0, 2**40))
def test_any_text_is_none_or_a_wait_of_at_most_a_day(header: str, message: str, now: float) -> None:
    seconds = read_retry_after(header, message, now)
    assert seconds is None or 0 <= seconds <= DAY
