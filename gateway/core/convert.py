"""From an answer's body and Content-Range to the bytes of a ListReposResponse.

Bytes to bytes: a page is the concatenation of its `repos` fields with one more field behind it, so nothing builds a
reply only to serialize it, and a row that was converted before is copied from the memo.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypeVar, cast

import msgspec

from gateway.core.content_range import parse_content_range
from gateway.core.errors import UPSTREAM_RESPONSE_TOO_LARGE, GatewayError
from gateway.core.filter import MAX_LIMIT, Page
from gateway.core.json_text import REFUSED, forgiving, read_integer
from gateway.core.memo import PageMemo, RowMemo
from gateway.core.rows import Identity, decode_identities, decode_rows, encode_page, encode_row, split_rows
from gateway.core.wire import encode_length_delimited
from gateway.swr.v1 import repos_pb2

MAX_ROWS = 10_000
# Work between two breaths of the caller, about a millisecond: rows to encode, and JSON text to decode.
SLICE_ROWS = 200
SLICE_BYTES = 128 * 1024

_TAG_CONTENT_RANGE = b"\x12"  # content_range of ListReposResponse and of StreamReposResponse
# Newer answers end each row with the number of matches. One new repository changes it in every row, which must not make
# the memo forget them all. A row is valid JSON, so this ending can only be its last member.
_TOTAL_RANGE = re.compile(rb',"total_range":\d{1,18}\}$')


class SerializedPage(NamedTuple):
    """One page as a serialized ListReposResponse, and how many rows it has."""

    message: bytes
    rows: int = 0


Result = TypeVar("Result")
Steps = Generator[None, None, Result]


class _TotalRange(msgspec.Struct):
    total_range: msgspec.Raw = msgspec.Raw(b"null")


_decode_total_ranges = forgiving(msgspec.json.Decoder(list[_TotalRange] | None).decode)


@dataclass(frozen=True, slots=True)
class RowPage:
    """One page, row by row.

    Attributes:
        page: The page that was asked for.
        fields: Each row as a serialized `repos` field, which ListReposResponse and StreamReposResponse share.
        identities: What tells each row from others.
        position: Where the page lies among all matches, where that is known.
        claimed: Whether the upstream says itself that this is the page that was asked for.
    """

    page: Page
    fields: list[bytes]
    identities: list[Identity]
    position: repos_pb2.ContentRange | None
    claimed: bool = False


class PageConverter:
    """Converts pages, in steps: whoever runs one on an event loop lets others run at each step.

    Args:
        memo_bytes: Memory for pages and rows already converted, half for each. 0 remembers nothing.
    """

    def __init__(self, memo_bytes: int) -> None:
        self._pages = PageMemo(memo_bytes // 2) if memo_bytes else None
        self._rows = RowMemo(memo_bytes // 2) if memo_bytes else None

    def convert(self, body: bytes, content_range: str | None, page: Page | None) -> Steps[SerializedPage]:
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
        with _naming(page):
            count, repos = yield from self._convert_repos(body)
        position = parse_content_range(content_range, count) or _content_range_from_rows(body, count, page)
        return SerializedPage(repos + encode_content_range(position), count)

    def convert_rows(self, body: bytes, content_range: str | None, page: Page) -> Steps[RowPage]:
        """Convert one page row by row, for a stream to put together anew.

        Arguments and errors are those of `convert`.
        """
        with _naming(page):
            fields = yield from _convert_known_rows(body, self._rows) if self._rows else _convert_each_row(body)
        if len(body) > SLICE_BYTES:
            yield
        header = parse_content_range(content_range, len(fields))
        return RowPage(
            page,
            fields,
            decode_identities(body),
            position=header or _content_range_from_rows(body, len(fields), page),
            claimed=header is not None and header.offset == page.offset,
        )

    def _convert_repos(self, body: bytes) -> Steps[tuple[int, bytes]]:
        if self._pages is None or self._rows is None:
            return (yield from _convert_all_rows(body))
        converted = self._pages.find(body)
        if converted is None:
            fields = yield from _convert_known_rows(body, self._rows)
            converted = len(fields), b"".join(fields)
            self._pages.remember(body, converted)
        return converted


@contextmanager
def _naming(page: Page | None) -> Iterator[None]:
    """Say of a failure which page has it."""
    try:
        yield
    except GatewayError as error:
        if page is not None:
            error.detail = f"page at offset {page.offset}: {error.detail}"
        raise


def _convert_all_rows(body: bytes) -> Steps[tuple[int, bytes]]:
    rows = decode_rows(body)
    _check_count(len(rows))
    if len(rows) <= SLICE_ROWS:
        return len(rows), encode_page(rows)
    parts = []
    for start in range(0, len(rows), SLICE_ROWS):
        yield
        parts.append(encode_page(rows[start : start + SLICE_ROWS]))
    return len(rows), b"".join(parts)


def _convert_each_row(body: bytes) -> Steps[list[bytes]]:
    rows = decode_rows(body)
    _check_count(len(rows))
    fields: list[bytes] = []
    for start in range(0, len(rows), SLICE_ROWS):
        if start:
            yield
        fields += map(encode_row, rows[start : start + SLICE_ROWS])
    return fields


def _convert_known_rows(body: bytes, memo: RowMemo) -> Steps[list[bytes]]:
    """Copy the rows that the memo knows, and encode the others."""
    rows = split_rows(body)
    _check_count(len(rows))
    if len(rows) > MAX_LIMIT:  # more than anyone can ask for: a breath between two passes over all of them
        yield
    keys = _memo_keys(rows)
    fields = memo.find(keys)
    if None in fields:
        slices = list(_slices([index for index, field in enumerate(fields) if field is None], rows))
        for indices in slices:
            if len(slices) > 1:
                yield
            array = b"[%b]" % b",".join([rows[index] for index in indices])
            encoded = [encode_row(row) for row in decode_rows(array, indices)]
            for index, field in zip(indices, encoded, strict=True):
                fields[index] = field
            memo.remember([keys[index] for index in indices], encoded)
    return cast("list[bytes]", fields)


def _check_count(rows: int) -> None:
    if rows > MAX_ROWS:
        raise GatewayError(UPSTREAM_RESPONSE_TOO_LARGE, detail=f"{rows} rows")


def _memo_keys(rows: list[bytes]) -> list[bytes]:
    """Return each row's memo key: its text, without the number of matches where the text ends with it."""
    ending = _TOTAL_RANGE.search(rows[-1]) if rows else None
    if ending is None:
        return rows
    suffix = ending.group()
    return [row.removesuffix(suffix) for row in rows]


def _slices(indices: Iterable[int], rows: list[bytes]) -> Iterator[list[int]]:
    """Group rows into pieces of work of about the same size."""
    piece: list[int] = []
    size = 0
    for index in indices:
        piece.append(index)
        size += len(rows[index])
        if len(piece) == SLICE_ROWS or size >= SLICE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _content_range_from_rows(body: bytes, count: int, page: Page | None) -> repos_pb2.ContentRange | None:
    """Return the position that rows tell where there is no header: they may carry the number of matches."""
    if page is None:
        return None
    try:
        totals = (read_integer(bytes(row.total_range)) for row in _decode_total_ranges(body) or [])
        total = next((total for total in totals if total is not None), None)
    except REFUSED:  # of a type of its own: nothing to learn here
        return None
    if total is None or page.offset + count > total:
        return None
    return repos_pb2.ContentRange(offset=page.offset, count=count, total=total)


def encode_content_range(position: repos_pb2.ContentRange | None) -> bytes:
    """Serialize a position as the `content_range` field of a reply; nothing where it is not known."""
    return b"" if position is None else encode_length_delimited(_TAG_CONTENT_RANGE, position.SerializeToString())
