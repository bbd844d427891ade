"""From an answer's body and Content-Range to the bytes of a ListReposResponse.

Bytes to bytes: a page is the concatenation of its `repos` fields with one more field behind it, so nothing builds a
reply only to serialize it, and a row that was converted before is copied from the memo.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar, cast

from gateway.core.content_range import ContentRange, encode_content_range, parse_content_range
from gateway.core.errors import UPSTREAM_RESPONSE_TOO_LARGE, GatewayError
from gateway.core.filter import Page
from gateway.core.json_text import REFUSED, read_integer
from gateway.core.memo import PageMemo, PageSource, RowMemo
from gateway.core.pages import RowPage, SerializedPage
from gateway.core.pieces import PIECE_BYTES, Body, decode_in_pieces
from gateway.core.row_decoding import (
    Identity,
    RepoRow,
    decode_identities,
    decode_rows,
    decode_totals,
    split_rows,
)
from gateway.core.row_encoding import encode_page, encode_row

MAX_ROWS = 10_000
# Rows to encode between two breaths of the caller: about a millisecond.
SLICE_ROWS = 200

# Newer answers end each row with the number of matches. One new repository changes it in every row, which must not make
# the memo forget them all. A row is valid JSON, so this ending can only be its last member.
_TOTAL_RANGE = re.compile(rb',"total_range":\d{1,18}\}$')

Element = TypeVar("Element")
Result = TypeVar("Result")
Steps = Generator[None, None, Result]


class PageConverter:
    """Converts pages, in steps: whoever runs one on an event loop lets others run at each step.

    Args:
        memo_bytes: Memory for pages and rows already converted, half for each. 0 remembers nothing.
    """

    def __init__(self, memo_bytes: int) -> None:
        self._pages = PageMemo(memo_bytes // 2) if memo_bytes else None
        self._rows = RowMemo(memo_bytes // 2) if memo_bytes else None

    def convert(self, body: Body, content_range: str | None, page: Page | None) -> Steps[SerializedPage]:
        """Convert one page to one reply.

        Args:
            body: The upstream's JSON: an array of objects, or null for none.
            content_range: The Content-Range header, if there was one.
            page: The page that was asked for.

        Returns:
            The reply.

        Raises:
            GatewayError: UPSTREAM_MALFORMED_RESPONSE or UPSTREAM_RESPONSE_TOO_LARGE.
        """
        if self._pages is None or len(body) > self._pages.max_body_bytes:
            return (yield from self._convert(body, content_range, page))
        source = PageSource(bytes(body), content_range, page)
        reply = self._pages.find(source)
        if reply is None:
            reply = yield from self._convert(*source)
            self._pages.remember(source, reply)
        return reply

    def convert_rows(self, body: Body, content_range: str | None, page: Page) -> Steps[RowPage]:
        """Convert one page row by row, for a stream to put together anew.

        Arguments and errors are those of `convert`.
        """
        with _naming(page):
            _, fields = yield from self._encode_rows(body)
            identities = yield from _identities_in(body)
            header = parse_content_range(content_range, len(fields))
            position = header
            if header is None or page.offset + len(fields) > header.total:  # a total that the page itself disproves
                position = (yield from _position_in_rows(body, len(fields), page)) or header
        return RowPage(page, fields, identities, position, claimed=header is not None and header.offset == page.offset)

    def _convert(self, body: Body, content_range: str | None, page: Page | None) -> Steps[SerializedPage]:
        with _naming(page):
            count, fields = yield from self._encode_page(body)
            position = yield from _position_of(body, count, content_range, page)
        if len(body) > PIECE_BYTES:
            yield  # to join what is large is a step of its own
        return SerializedPage(b"".join([*fields, encode_content_range(position)]), count)

    def _encode_page(self, body: Body) -> Steps[tuple[int, list[bytes]]]:
        if self._rows is None:
            return (yield from _encode(body, lambda rows: [encode_page(rows)]))
        return (yield from _copy_known_rows(body, self._rows))

    def _encode_rows(self, body: Body) -> Steps[tuple[int, list[bytes]]]:
        if self._rows is None:
            return (yield from _encode(body, lambda rows: list(map(encode_row, rows))))
        return (yield from _copy_known_rows(body, self._rows))


@contextmanager
def _naming(page: Page | None) -> Iterator[None]:
    """Say of a failure which page has it."""
    try:
        yield
    except GatewayError as error:
        if page is not None:
            error.detail = f"page at offset {page.offset}: {error.detail}"
        raise


def _encode(body: Body, encode: Callable[[list[RepoRow]], list[bytes]]) -> Steps[tuple[int, list[bytes]]]:
    """Encode all rows; return how many they are, and their fields."""
    fields: list[bytes] = []
    count = 0
    for rows in decode_in_pieces(body, decode_rows):
        count += len(rows)
        _check_count(count)
        for start in range(0, len(rows), SLICE_ROWS):
            if fields:
                yield
            fields += encode(rows[start : start + SLICE_ROWS])
    return count, fields


def _copy_known_rows(body: Body, memo: RowMemo) -> Steps[tuple[int, list[bytes]]]:
    """Copy the rows that the memo knows, and encode the others; return how many they are, and their fields."""
    fields: list[bytes] = []
    for rows in decode_in_pieces(body, _unnumbered(split_rows)):
        _check_count(len(fields) + len(rows))
        if fields:
            yield
        fields += yield from _copy_known_piece(rows, len(fields), memo)
    return len(fields), fields


def _copy_known_piece(rows: list[bytes], first: int, memo: RowMemo) -> Steps[list[bytes]]:
    keys = _memo_keys(rows)
    fields = memo.find(keys)
    new = [index for index, field in enumerate(fields) if field is None] if None in fields else []
    for start in range(0, len(new), SLICE_ROWS):
        if start:
            yield
        indices = new[start : start + SLICE_ROWS]
        array = b"[%b]" % b",".join([rows[index] for index in indices])
        encoded = [encode_row(row) for row in decode_rows(array, [first + index for index in indices])]
        for index, field in zip(indices, encoded, strict=True):
            fields[index] = field
        memo.remember([keys[index] for index in indices], encoded)
    return cast("list[bytes]", fields)


def _unnumbered(decode: Callable[[bytes], list[Element]]) -> Callable[[bytes, Sequence[int]], list[Element]]:
    return lambda array, _: decode(array)


def _check_count(rows: int) -> None:
    if rows > MAX_ROWS:
        raise GatewayError(UPSTREAM_RESPONSE_TOO_LARGE, detail=f"more than {MAX_ROWS} rows")


def _memo_keys(rows: list[bytes]) -> list[bytes]:
    """Return each row's memo key: its text, without the number of matches where the text ends with it."""
    ending = _TOTAL_RANGE.search(rows[-1]) if rows else None
    if ending is None:
        return rows
    suffix = ending.group()
    return [row.removesuffix(suffix) for row in rows]


def _identities_in(body: Body) -> Steps[list[Identity]]:
    identities: list[Identity] = []
    for some in decode_in_pieces(body, _unnumbered(decode_identities)):
        if identities:
            yield
        identities += some
    return identities


def _position_of(body: Body, count: int, content_range: str | None, page: Page | None) -> Steps[ContentRange | None]:
    """Return where a page lies: by its header, else by its rows, which may carry the number of matches."""
    position = parse_content_range(content_range, count)
    if position is not None or page is None:
        return position
    return (yield from _position_in_rows(body, count, page))


def _position_in_rows(body: Body, count: int, page: Page) -> Steps[ContentRange | None]:
    """Return where a page lies by its rows alone."""
    try:
        total = yield from _total_in(body)
    except REFUSED:  # of a type of its own: nothing to learn here
        return None
    return None if total is None or page.offset + count > total else ContentRange(page.offset, count, total)


def _total_in(body: Body) -> Steps[int | None]:
    """Return the first number of matches that a row has."""
    for number, rows in enumerate(decode_in_pieces(body, _unnumbered(decode_totals))):
        if number:
            yield
        totals = (read_integer(row) for row in rows)
        total = next((total for total in totals if total is not None), None)
        if total is not None:
            return total
    return None
