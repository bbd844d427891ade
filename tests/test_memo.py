"""The memories of what was converted: what they keep, what they forget, and that both is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.memo import ENTRY_OVERHEAD, MAX_ROW_BYTES, PageMemo, RowMemo

A, B, C, D = b'{"name":"a"}', b'{"name":"b"}', b'{"name":"c"}', b'{"name":"d"}'
ROW_COST = len(A) + len(A) + ENTRY_OVERHEAD
PLENTY = 1 << 20


def field_of(row: bytes) -> bytes:
    return row.upper()


def remember(memo: RowMemo, *rows: bytes) -> None:
    memo.remember(list(rows), [field_of(row) for row in rows])


def test_an_empty_memory_finds_nothing() -> None:
    assert RowMemo(PLENTY).find([A, B]) == [None, None]
    assert RowMemo(PLENTY).find([]) == []
    assert PageMemo(PLENTY).find(A) is None


def test_rows_are_found_in_the_order_of_the_question() -> None:
    memo = RowMemo(PLENTY)
    remember(memo, A, B)
    assert memo.find([B, C, A, B]) == [field_of(B), None, field_of(A), field_of(B)]


def test_nothing_to_remember_is_fine() -> None:
    memo = RowMemo(PLENTY)
    remember(memo)
    assert memo.find([A]) == [None]


def test_a_page_is_found_by_its_text() -> None:
    memo = PageMemo(PLENTY)
    memo.remember(A, (1, b"page"))
    assert memo.find(A) == (1, b"page")
    assert memo.find(B) is None


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
    memo = PageMemo(2 * (ENTRY_OVERHEAD + 100))
    memo.remember(b"x" * 50, (1, b"y" * 51))
    memo.remember(b"x" * 1000, (1, b""))
    assert memo.find(b"x" * 50) is None
    assert memo.find(b"x" * 1000) is None
    memo.remember(b"x" * 50, (1, b"y" * 50))
    assert memo.find(b"x" * 50) == (1, b"y" * 50)


def test_a_memory_of_nothing_keeps_nothing() -> None:
    rows, pages = RowMemo(0), PageMemo(0)
    remember(rows, A)
    pages.remember(b"", (0, b""))
    assert rows.find([A]) == [None]
    assert pages.find(b"") is None


def test_rows_that_were_asked_for_outlive_those_that_were_not() -> None:
    memo = RowMemo(4 * ROW_COST)
    remember(memo, A, B)
    remember(memo, C)  # A and B are old now
    assert memo.find([A]) == [field_of(A)]  # A is young again
    remember(memo, D)  # B is forgotten
    assert memo.find([A, B, C, D]) == [field_of(A), None, field_of(C), field_of(D)]


def test_pages_that_were_asked_for_outlive_those_that_were_not() -> None:
    memo = PageMemo(4 * ROW_COST)
    pages = {body: (1, field_of(body)) for body in (A, B, C, D)}
    for body in (A, B, C):
        memo.remember(body, pages[body])
    assert memo.find(A) == pages[A]
    memo.remember(D, pages[D])
    assert [memo.find(body) for body in (A, D, B)] == [pages[A], pages[D], None]


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
        assert memo.find(body) in ({None, (len(body), field_of(body))} if body in seen else {None})
        memo.remember(body, (len(body), field_of(body)))
        seen.add(body)
        fits = len(body) + len(field_of(body)) + ENTRY_OVERHEAD <= max_bytes // 2
        assert memo.find(body) == ((len(body), field_of(body)) if fits else None)
