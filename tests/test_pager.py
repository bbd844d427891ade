"""Whatever becomes of pages, each row comes once and in order, and an honest upstream is asked for no page too many."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.content_range import ContentRange
from gateway.core.errors import GatewayError
from gateway.core.filter import Page
from gateway.core.pager import MAX_IDLE_PAGES, MAX_OFFSET, Pager
from gateway.core.pages import RowPage
from gateway.core.stream import StreamAssembler
from gateway.listing.prefetching import Fetch, PageReader
from gateway.swr.v1 import repos_pb2


@dataclass
class Upstream:
    """A list, and what becomes of its pages. It takes only offsets that are multiples of the limit.

    Attributes:
        rows: Names, in order; None is a row that the caller may not see, though offsets and the total count it.
        cap: Most rows that it looks at for one page.
        cuts: How many rows of the first pages come at the most, one number a page.
        total: What it says there are: by a header, by its rows, or not at all; or a number that is wrong.
        asked: The pages that it was asked for.
    """

    rows: Sequence[str | None]
    cap: int = MAX_OFFSET
    cuts: list[int] = field(default_factory=list)
    total: str | int = "header"
    asked: list[Page] = field(default_factory=list)

    def answer(self, wanted: Page) -> RowPage:
        assert wanted.offset % wanted.limit == 0
        assert 0 <= wanted.offset <= MAX_OFFSET
        self.asked.append(wanted)
        window = self.rows[wanted.offset : wanted.offset + min(wanted.limit, self.cap)]
        shown = [row for row in window if row is not None][: self.cuts.pop(0) if self.cuts else None]
        fields = [
            repos_pb2.StreamReposResponse(repos=[repos_pb2.Repo(name=name)]).SerializeToString() for name in shown
        ]
        return RowPage(wanted, fields, [("n", name, "", "") for name in shown], self._position(wanted, len(shown)))

    def _position(self, wanted: Page, count: int) -> ContentRange | None:
        if self.total == "nowhere" or (self.total == "rows" and not count):
            return None
        total = self.total if isinstance(self.total, int) else len(self.rows)
        return ContentRange(wanted.offset, count, total)

    def read(self, start: int, size: int, ahead: int = 1) -> list[str]:
        """Return the names in all messages, which say where they end."""

        async def fetch(wanted: Page) -> RowPage:
            return self.answer(wanted)

        def begin(wanted: Page, is_ahead: bool) -> Fetch[RowPage] | None:
            return None if is_ahead and not ahead else Fetch(wanted, asyncio.create_task(fetch(wanted)), None)

        async def convert(_: Page, fetched: RowPage) -> RowPage:
            return fetched

        async def read() -> list[str]:
            names: list[str] = []
            reached = start
            reader = PageReader(begin, convert, StreamAssembler(Page(start, size)), max(ahead, 1))
            async with aclosing(reader.messages()) as messages:
                async for serialized in messages:
                    message = repos_pb2.StreamReposResponse.FromString(serialized)
                    names += [repo.name for repo in message.repos]
                    assert reached <= message.next_offset
                    reached = message.next_offset
            return names

        return asyncio.run(read())


def named(count: int) -> list[str]:
    return [f"r-{number}" for number in range(count)]


TOTALS = st.sampled_from(["header", "rows"])
STARTS = st.integers(0, 500)
SIZES = st.integers(1, 300) | st.just(1000)
AHEAD = st.integers(0, 4)  # 0: no turn is ever free
HONEST = st.builds(Upstream, st.integers(0, 400).map(named), total=st.sampled_from(["header", "rows", "nowhere"]))
CAPPED = st.builds(Upstream, st.integers(0, 400).map(named), cap=st.integers(1, 300), total=TOTALS)
CUTTING = st.builds(
    Upstream, st.integers(0, 400).map(named), cuts=st.lists(st.integers(1, 300), max_size=12), total=TOTALS
)
_RUNS = st.lists(st.tuples(st.booleans(), st.integers(1, 150)), max_size=12).map(
    lambda runs: [is_shown for is_shown, length in runs for _ in range(length)]
)
_SPECKLED = st.lists(st.booleans(), max_size=400)
# An upstream that caps pages at less than the default page size, and hides rows besides, can be told from others once
# two pages have come in full.
HIDING = st.builds(
    lambda shown, cap: Upstream([f"r-{at}" if is_shown else None for at, is_shown in enumerate(shown)], cap),
    _RUNS | _SPECKLED,
    st.just(MAX_OFFSET) | st.integers(100, 200),
)

HIDING_AND_CAPPED_LOW = st.builds(
    lambda shown, cap: Upstream(
        [*named(2 * cap), *(f"s-{at}" if shown[at] else None for at in range(len(shown)))], cap
    ),
    _RUNS | _SPECKLED,
    st.integers(1, 99),
)


@given(upstream=HONEST | CAPPED | CUTTING | HIDING, start=STARTS, size=SIZES, ahead=AHEAD)
def test_every_row_from_the_start_on_comes_once_and_in_order(
    upstream: Upstream, start: int, size: int, ahead: int
) -> None:
    assert upstream.read(start, size, ahead) == [row for row in upstream.rows[start:] if row is not None]


@given(upstream=HIDING_AND_CAPPED_LOW, size=SIZES, ahead=AHEAD)
@example(upstream=Upstream([*named(60), *[None] * 200, *named(300)[100:]], cap=30), size=100, ahead=4)
def test_a_cap_below_the_default_size_is_noticed_and_nothing_hidden_hides_more(
    upstream: Upstream, size: int, ahead: int
) -> None:
    assert upstream.read(0, size, ahead) == [row for row in upstream.rows if row is not None]


@given(upstream=HONEST, start=STARTS, size=SIZES, ahead=AHEAD)
@example(upstream=Upstream(named(200)), start=0, size=100, ahead=4)
@example(upstream=Upstream(named(200), total="nowhere"), start=0, size=100, ahead=4)
def test_an_honest_upstream_is_asked_for_each_page_once(upstream: Upstream, start: int, size: int, ahead: int) -> None:
    upstream.read(start, size, ahead)
    first = start - start % size
    behind = max(len(upstream.rows), first + 1) if upstream.total != "nowhere" else max(len(upstream.rows), first) + 1
    assert upstream.asked == [Page(offset, size) for offset in range(first, behind, size)]


def test_no_page_is_asked_for_twice_where_a_cap_is_steady() -> None:
    upstream = Upstream(named(1050), cap=100)
    assert upstream.read(0, 1000, 4) == named(1050)
    assert upstream.asked == [Page(0, 1000), *(Page(offset, 100) for offset in range(100, 1050, 100))]


@pytest.mark.parametrize("size", [100, 1000])
@pytest.mark.parametrize("visible", [0.01, 0.5, 0.99])
def test_hidden_rows_cost_a_bounded_number_of_requests(visible: float, size: int) -> None:
    upstream = Upstream([f"r-{at}" if at * visible % 1 < visible else None for at in range(10_000)])
    assert upstream.read(0, size) == [row for row in upstream.rows if row is not None]
    assert len(upstream.asked) < 1500


@pytest.mark.parametrize("start", [250, 300, 2000])
def test_a_start_behind_the_end_is_told_so(start: int) -> None:
    upstream, assembler = Upstream(named(250), cap=100), StreamAssembler(Page(start, 1000))
    wanted = assembler.pager.upcoming
    assert wanted
    (message,) = map(repos_pb2.StreamReposResponse.FromString, assembler.take(upstream.answer(wanted)))
    assert (list(message.repos), message.next_offset) == ([], start)
    assert message.content_range.total == 250
    assert assembler.pager.upcoming is None


def test_hidden_rows_are_not_passed_over_faster_than_a_capped_page_looks() -> None:
    upstream = Upstream([*[None] * 350, *named(250)], cap=100)
    assert upstream.read(0, 1000, 4) == named(250)


def test_hidden_rows_are_passed_over_by_pages_as_long_as_have_come() -> None:
    upstream = Upstream([*named(1000), *[None] * 5000, *named(2000)[1000:]])
    assert upstream.read(0, 1000, 4) == named(2000)
    assert upstream.asked == [Page(offset, 1000) for offset in range(0, 7000, 1000)]


@pytest.mark.parametrize("total", [251, 300, 1000, 10_000, MAX_OFFSET, 2**31, 10**18])
def test_a_total_that_is_too_large_for_good_ends(total: int) -> None:
    upstream = Upstream(named(250), total=total)
    assert upstream.read(0, 100, 4) == named(250)
    assert len(upstream.asked) <= total // 100 + 3


def test_a_total_that_is_off_by_more_than_a_thousand_pages_is_not_called_the_end() -> None:
    upstream = Upstream(named(250), total=10**9)
    with pytest.raises(GatewayError, match="UPSTREAM_NO_PROGRESS") as failed:
        upstream.read(0, 100, 4)
    assert "total" in failed.value.message
    assert MAX_IDLE_PAGES < len(upstream.asked) < MAX_IDLE_PAGES + 10


@pytest.mark.parametrize("size", [1, 10, 100])
def test_an_upstream_that_gives_all_at_once_is_asked_once(size: int) -> None:
    class Unpaged(Upstream):
        def answer(self, wanted: Page) -> RowPage:
            return replace(super().answer(Page(0, 1000)), page=wanted)

    upstream = Unpaged(named(25))
    assert upstream.read(0, size, 4) == named(25)
    assert len(upstream.asked) == 1


@dataclass
class Stuck(Upstream):
    """Gives its first page whatever it is asked for, and says so if a header tells where that lies."""

    def answer(self, wanted: Page) -> RowPage:
        first = replace(super().answer(Page(0, 100)), page=wanted)
        told = ContentRange(wanted.offset, 100, len(self.rows))
        return replace(first, position=told) if self.total == "rows" else first


@pytest.mark.parametrize(("total", "count", "requests"), [("header", 200, 2), ("header", 300, 2), ("rows", 300, 3)])
def test_a_page_that_comes_for_every_offset_is_not_called_the_whole_list(total: str, count: int, requests: int) -> None:
    upstream = Stuck(named(count), total=total)
    with pytest.raises(GatewayError, match="UPSTREAM_NO_PROGRESS"):
        upstream.read(0, 1000, 0)
    assert len(upstream.asked) == requests


@pytest.mark.parametrize("total", ["header", "rows"])
def test_a_page_of_repeats_may_be_what_lies_behind_hidden_rows(total: str) -> None:
    upstream = Upstream([*[None] * 100, *named(100), *[None] * 100], total=total)
    assert upstream.read(0, 1000, 0) == named(100)


def test_two_pages_of_repeats_that_differ_are_no_page_once_more() -> None:
    """Behind a short page one looks where it has looked already: there other rows may come again, in any order."""
    pager = Pager(Page(0, 1000))
    names = [str(number).encode() for number in range(200)]
    known = [("n", name.decode(), "", "") for name in names]
    first = RowPage(Page(0, 1000), names, known, ContentRange(0, 200, 2000))
    assert pager.rows_in_front(first) == 0
    pager.advance(first, fresh=200)
    for offset, fields in ((200, names), (400, names[::-1])):
        assert pager.upcoming == Page(offset, 200)
        again = RowPage(Page(offset, 200), fields, known, None)
        assert pager.rows_in_front(again) == 0
        pager.advance(again, fresh=0)
    assert pager.upcoming == Page(600, 200)
