"""The memories of what was converted: what they keep, what they forget, and that both is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.filter import Page
from gateway.core.memo import ENTRY_OVERHEAD, MAX_ROW_BYTES, PAGE_OVERHEAD, PageMemo, PageSource, RowMemo
from gateway.core.pages import SerializedPage

A, B, C, D = b'{"name":"a"}', b'{"name":"b"}', b'{"name":"c"}', b'{"name":"d"}'
ROW_COST = len(A) + len(A) + ENTRY_OVERHEAD
PLENTY = 1 << 20


def field_of(row: bytes) -> bytes:
    return row.upper()


def source(body: bytes) -> PageSource:
    return PageSource(body, None, None)


def reply_of(body: bytes) -> SerializedPage:
    return SerializedPage(field_of(body), len(body))


def remember(memo: RowMemo, *rows: bytes) -> None:
    memo.remember(list(rows), [field_of(row) for row in rows])


def test_an_empty_memory_finds_nothing() -> None:
    assert RowMemo(PLENTY).find([A, B]) == [None, None]
    assert RowMemo(PLENTY).find([]) == []
    assert PageMemo(PLENTY).find(source(A)) is None


def test_rows_are_found_in_the_order_of_the_question() -> None:
    memo = RowMemo(PLENTY)
    remember(memo, A, B)
    assert memo.find([B, C, A, B]) == [field_of(B), None, field_of(A), field_of(B)]


def test_nothing_to_remember_is_fine() -> None:
    memo = RowMemo(PLENTY)
    remember(memo)
    assert memo.find([A]) == [None]


def test_a_page_is_found_by_all_that_its_reply_is_made_of() -> None:
    memo = PageMemo(PLENTY)
    memo.remember(PageSource(A, "0-1/5", Page(0, 1)), reply_of(A))
    assert memo.find(PageSource(A, "0-1/5", Page(0, 1))) == reply_of(A)
    assert memo.find(PageSource(B, "0-1/5", Page(0, 1))) is None
    assert memo.find(PageSource(A, "0-1/6", Page(0, 1))) is None
    assert memo.find(PageSource(A, "0-1/5", Page(1, 1))) is None


def test_a_large_row_is_not_kept_and_its_neighbours_are() -> None:
    largest, larger = b"x" * MAX_ROW_BYTES, b"x" * (MAX_ROW_BYTES + 1)
    memo = RowMemo(PLENTY)
    remember(memo, A, larger, largest)
    assert memo.find([A, larger, largest]) == [field_of(A), None, field_of(largest)]


def test_of_rows_that_take_more_than_half_of_the_memory_the_last_ones_are_kept() -> None:
    memo = RowMemo(2 * ROW_COST)
    remember(memo, A, B, C)
    assert memo.find([A, B, C]) == [None, field_of(B), field_of(C)]


def test_a_page_that_takes_more_than_half_of_the_memory_is_not_kept() -> None:
    memo = PageMemo(2 * (PAGE_OVERHEAD + 100))
    memo.remember(source(b"x" * 50), SerializedPage(b"y" * 51))
    memo.remember(source(b"x" * 1000), SerializedPage(b""))
    memo.remember(PageSource(b"", "0" * 101, None), SerializedPage(b""))
    assert memo.find(source(b"x" * 50)) is None
    assert memo.find(source(b"x" * 1000)) is None
    assert memo.find(PageSource(b"", "0" * 101, None)) is None
    memo.remember(source(b"x" * 50), SerializedPage(b"y" * 50))
    assert memo.find(source(b"x" * 50)) == SerializedPage(b"y" * 50)


def test_a_memory_of_nothing_keeps_nothing() -> None:
    rows, pages = RowMemo(0), PageMemo(0)
    remember(rows, A)
    pages.remember(source(b""), SerializedPage(b""))
    assert rows.find([A]) == [None]
    assert pages.find(source(b"")) is None


def test_rows_that_were_asked_for_outlive_those_that_were_not() -> None:
    memo = RowMemo(4 * ROW_COST)
    remember(memo, A, B)
    remember(memo, C)  # A and B are old now
    assert memo.find([A]) == [field_of(A)]  # A is young again
    remember(memo, D)  # B is forgotten
    assert memo.find([A, B, C, D]) == [field_of(A), None, field_of(C), field_of(D)]


def test_pages_that_were_asked_for_outlive_those_that_were_not() -> None:
    memo = PageMemo(4 * (ROW_COST - ENTRY_OVERHEAD + PAGE_OVERHEAD))
    for body in (A, B, C):
        memo.remember(source(body), reply_of(body))
    assert memo.find(source(A)) == reply_of(A)
    memo.remember(source(D), reply_of(D))
    assert [memo.find(source(body)) for body in (A, D, B)] == [reply_of(A), reply_of(D), None]


ROWS = st.binary(min_size=1, max_size=60)


@given(st.integers(0, 5000), st.lists(st.lists(ROWS, max_size=12), max_size=20))
def test_a_memory_of_rows_never_grows_over_its_size(max_bytes: int, pages: list[list[bytes]]) -> None:
    memo = RowMemo(max_bytes)
    seen: set[bytes] = set()
    for page in pages:
        for row, field in zip(page, memo.find(page), strict=True):
            assert field in ({None, field_of(row)} if row in seen else {None})
        remember(memo, *page)
        seen.update(page)
        kept = [(row, field) for row, field in zip(seen, memo.find(list(seen)), strict=True) if field is not None]
        assert sum(len(row) + len(field) + ENTRY_OVERHEAD for row, field in kept) <= max_bytes


@given(st.integers(0, 2000), st.lists(ROWS, max_size=30))
def test_a_memory_of_pages_returns_what_was_remembered_or_nothing(max_bytes: int, bodies: list[bytes]) -> None:
    memo = PageMemo(max_bytes)
    seen: set[bytes] = set()
    for body in bodies:
        assert memo.find(source(body)) in ({None, reply_of(body)} if body in seen else {None})
        memo.remember(source(body), reply_of(body))
        seen.add(body)
        fits = len(body) + len(field_of(body)) + PAGE_OVERHEAD <= max_bytes // 2
        assert memo.find(source(body)) == (reply_of(body) if fits else None)
