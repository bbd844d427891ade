"""The upstream's Content-Range header, read leniently."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.content_range import ContentRange, parse_content_range

MANY = 999_999_999_999_999_999
NUMBERS = st.integers(0, MANY)

READABLE = {
    "as documented": ("0-100/2500", 100, (0, 100, 2500)),
    "a page in the middle": ("200-100/2500", 100, (200, 100, 2500)),
    "a short last page": ("2400-17/2417", 17, (2400, 17, 2417)),
    "nothing at all": ("0-0/0", 0, (0, 0, 0)),
    "behind the end": ("500-0/20", 0, (500, 0, 20)),
    "blanks around it": ("  0-10/20\t", 10, (0, 10, 20)),
    "a unit in front": ("items 0-10/20", 10, (0, 10, 20)),
    "leading zeros": ("00-010/020", 10, (0, 10, 20)),
    "eighteen digits": (f"{MANY}-{MANY}/{MANY}", 5, (MANY, MANY, MANY)),
    "a last index": ("0-99/2500", 100, (0, 100, 2500)),
    "a last index, further on": ("200-299/2500", 100, (200, 100, 2500)),
    "a last index with a unit": ("items 20-24/25", 5, (20, 5, 25)),
    "a count that is not of this page": ("0-100/2500", 42, (0, 100, 2500)),
}

UNREADABLE = {
    "absent": None,
    "empty": "",
    "blank": " ",
    "total unknown": "0-100/*",
    "no range": "*/2500",
    "no total": "0-100",
    "no count": "0/2500",
    "negative": "-1-100/2500",
    "decimals": "0-1.5/2",
    "nineteen digits": "0-100/1000000000000000000",
    "digits of another script": "१-२/३",
    "two of them": "0-100/2500, 0-100/2500",
    "a second line": "0-100/2500\nX: y",
    "blanks inside": "0 - 100 / 2500",
    "a unit without a blank": "items0-10/20",
    "text": "all of them",
}


@pytest.mark.parametrize(("header", "rows", "numbers"), READABLE.values(), ids=READABLE)
def test_a_readable_header_gives_its_numbers(header: str, rows: int, numbers: tuple[int, int, int]) -> None:
    offset, count, total = numbers
    assert parse_content_range(header, rows) == ContentRange(offset=offset, count=count, total=total)


@pytest.mark.parametrize("header", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_header_gives_nothing(header: str | None) -> None:
    assert parse_content_range(header, 100) is None


@given(NUMBERS, NUMBERS, NUMBERS)
def test_what_the_upstream_writes_reads_back(offset: int, count: int, total: int) -> None:
    written = parse_content_range(f"{offset}-{count}/{total}", count)
    assert written == ContentRange(offset=offset, count=count, total=total)


@given(st.integers(0, MANY - 10_000), st.integers(0, 10_000), NUMBERS)
def test_the_index_of_the_last_row_reads_as_the_number_of_rows(offset: int, rows: int, total: int) -> None:
    last = max(offset + rows - 1, 0)
    written = parse_content_range(f"{offset}-{last}/{total}", rows)
    assert written == ContentRange(offset=offset, count=rows, total=total)


@given(st.text() | st.text("0123456789-/* \t\n"), st.integers(0, 10_000))
def test_no_header_is_too_odd(header: str, rows: int) -> None:
    written = parse_content_range(header, rows)
    assert written is None or min(written.offset, written.count, written.total) >= 0
