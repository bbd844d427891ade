"""Which page of a list to ask for next, and when the list has ended.

An upstream may give less than was asked for. Where it caps or cuts a page, the next rows lie behind those that came;
where it leaves out rows that a caller may not see, they lie behind the whole page, for offsets count hidden rows. A
short page does not tell which it was, so the next one is asked for behind the rows that came. That skips nothing either
way, and what then comes twice is for others to drop.

In some regions an offset has to be a multiple of the limit, and nothing says in which: each request is made so.
"""

from __future__ import annotations

from gateway.core.errors import UPSTREAM_NO_PROGRESS, GatewayError
from gateway.core.filter import DEFAULT_PAGE_SIZE, Page
from gateway.core.pages import RowPage

# An offset is an int32.
MAX_OFFSET = 2**31 - 1
# Pages in a row that bring nothing new although more are said to follow. A total that is wrong by less than that many
# pages costs requests, a larger error costs the stream: to call the list complete would be a guess.
MAX_IDLE_PAGES = 1000
_TOO_MANY_IDLE_PAGES = (
    f"more than {MAX_IDLE_PAGES} pages in a row of the upstream's bring nothing new, though its total says that more"
    " repositories follow: if the total is right, ask for larger pages"
)


class Pager:
    """Follows one list from page to page. Pages are taken in the order in which they lie.

    Args:
        wanted: The index of the first repository, and the most to ask for at a time.

    Attributes:
        position: Index behind all that was read.
        steady: Whether the total is known, and the latest page led to where it was expected to lead.
    """

    def __init__(self, wanted: Page) -> None:
        self.position = wanted.offset
        self.steady = False
        self._limit = self._most = wanted.limit
        self._total: int | None = None
        # Whether a page was the last though no total says so.
        self._ended = False
        # Whether a page was short though more follow: from then on rows cannot be told from their places on a page.
        self._shortened = False
        self._guessed_cap = False
        self._longest = 0
        self._reach = 0
        # Whether a page had rows where one before it should have looked: then none looks further than rows have come.
        self._looks_short = False
        self._idle = 0
        # Of the latest page: where its header says that it lies, and what it held if that was nothing but repeats.
        self._told_offset: int | None = None
        self._repeats: int | None = None

    @property
    def upcoming(self) -> Page | None:
        """The page to read next; None at the end of the list."""
        return None if self._ended else self._page_at(self.position)

    def behind(self, page: Page) -> Page | None:
        """Return the page to read behind one that will come in full."""
        return self._page_at(page.offset + page.limit)

    def rows_in_front(self, rows: RowPage) -> int | None:
        """Learn what a page says of the list, and return how many of its rows lie in front of what is wanted.

        Returns:
            None where that cannot be told: the page has to be left out, and is asked for by a smaller limit.
        """
        page, count = rows.page, len(rows.fields)
        self._total = self._total_after(rows)
        self._longest = max(self._longest, count)
        if self._is_short(rows):
            self._guess_cap(count)
            if count and page.offset < self.position and self.upcoming:
                return None
        return self.position - page.offset

    def advance(self, rows: RowPage, fresh: int) -> None:
        """Move behind a page.

        Args:
            rows: The page, after `rows_in_front` has seen it.
            fresh: How many of its rows were not seen before.

        Raises:
            GatewayError: UPSTREAM_NO_PROGRESS: a full page of repeats where only new rows can lie, or that is the one
                before it once more, and the upstream does not even claim that it is the page that was asked for; or
                too many pages brought nothing new.
        """
        page, count = rows.page, len(rows.fields)
        self._idle = 0 if fresh else self._idle + 1
        is_repeat = count >= page.limit and not fresh
        comes_again = self._comes_again(rows, is_repeat=is_repeat)
        if is_repeat and not rows.claimed and (page.offset >= self._reach or comes_again):
            raise GatewayError(UPSTREAM_NO_PROGRESS)
        if self._idle > MAX_IDLE_PAGES:
            raise GatewayError(UPSTREAM_NO_PROGRESS, message=_TOO_MANY_IDLE_PAGES)
        self._looks_short = self._looks_short or fresh > max(page.offset + page.limit - self._reach, 0)
        end = page.offset + (count if fresh or not self._is_short(rows) else self._covered(page))
        self.position = max(self.position, end)
        self._reach = max(self._reach, page.offset + page.limit)
        self.steady = self._total is not None and self.position == page.offset + page.limit
        self._ended = self._total is None and count < page.limit

    def _page_at(self, position: int) -> Page | None:
        if position > MAX_OFFSET or (self._total is not None and position >= self._total):
            return None
        if not self._shortened:
            return Page(position - position % self._limit, self._limit)
        return Page(position, next(limit for limit in range(self._most, 0, -1) if position % limit == 0))

    def _comes_again(self, rows: RowPage, *, is_repeat: bool) -> bool:
        """Tell whether a page is the one before it once more, though another was asked for, and note what it is.

        Its header says so, or it is the second page of repeats with the same rows: of two full pages, one behind the
        other, none has a row of the other's. The first such page proves nothing: where hidden rows lay in front of
        those of a short page, these come again.
        """
        told_offset = rows.position.offset if rows.position else None
        repeats = hash(tuple(rows.fields)) if is_repeat else None
        is_again = (told_offset is not None and told_offset == self._told_offset) or (
            repeats is not None and repeats == self._repeats
        )
        self._told_offset, self._repeats = told_offset, repeats
        return is_again

    def _is_short(self, rows: RowPage) -> bool:
        """Tell whether a page has less than was asked for although more follow."""
        count = len(rows.fields)
        return self._total is not None and count < rows.page.limit and rows.page.offset + count < self._total

    def _total_after(self, rows: RowPage) -> int | None:
        """Return how many there are in all, by the latest page that says so.

        A total that the page itself disproves is none, and neither is one that no offset reaches: some write that for
        "unknown".
        """
        total = rows.position.total if rows.position else self._total
        end = rows.page.offset + len(rows.fields)
        return total if total is not None and end <= total < MAX_OFFSET else None

    def _guess_cap(self, count: int) -> None:
        """Ask for no more than came, so that pages lead to where they are expected to; no longer if that is wrong."""
        self._shortened = True
        self._most = count if count and not self._guessed_cap else self._limit
        self._guessed_cap = self._guessed_cap or count > 0

    def _covered(self, page: Page) -> int:
        """Return how far a page with nothing new has looked: an upstream that hides rows may cap pages as well.

        That it caps them at less than the default page size is believed where it has been seen.
        """
        return min(page.limit, self._longest if self._looks_short else max(self._longest, DEFAULT_PAGE_SIZE))
