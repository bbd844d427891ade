"""The upstream's Content-Range header: `offset-count/total`, which is not the one of RFC 9110."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from gateway.core.wire import encode_length_delimited
from gateway.swr.v1 import repos_pb2

_TAG_CONTENT_RANGE = b"\x12"  # content_range of ListReposResponse and of StreamReposResponse
# A unit in front, as RFC 9110 has it, is tolerated. 18 digits fit an int64.
_CONTENT_RANGE = re.compile(r"\s*(?:[A-Za-z]+\s+)?(\d{1,18})-(\d{1,18})/(\d{1,18})\s*", re.ASCII)


class ContentRange(msgspec.Struct, frozen=True):
    """Where a page lies among all matches: the index of its first repository, how many it has, how many there are."""

    offset: int
    count: int
    total: int


def parse_content_range(header: str | None, rows: int) -> ContentRange | None:
    """Return the header's numbers, or None where there is none that can be read.

    Args:
        header: The header's value.
        rows: Repositories on the page. A second number that is the index of the last of them, as RFC 9110 has it, is
            read as what it stands for; any other is passed on as the upstream says it.
    """
    match = _CONTENT_RANGE.fullmatch(header or "")
    if match is None:
        return None
    offset, count, total = map(int, match.groups())
    if count == offset + rows - 1:
        count = rows
    return ContentRange(offset, count, total)


@lru_cache(maxsize=1024)  # callers poll: the same few pages again and again
def encode_content_range(position: ContentRange | None) -> bytes:
    """Serialize a position as the `content_range` field of a reply; nothing where it is not known."""
    if position is None:
        return b""
    message = repos_pb2.ContentRange(offset=position.offset, count=position.count, total=position.total)
    return encode_length_delimited(_TAG_CONTENT_RANGE, message.SerializeToString())
