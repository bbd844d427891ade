"""The upstream's Content-Range header: `offset-count/total`, which is not the one of RFC 9110."""

from __future__ import annotations

import re

from gateway.swr.v1 import repos_pb2

# A unit in front, as RFC 9110 has it, is tolerated. 18 digits fit an int64.
_CONTENT_RANGE = re.compile(r"\s*(?:[A-Za-z]+\s+)?(\d{1,18})-(\d{1,18})/(\d{1,18})\s*", re.ASCII)


def parse_content_range(header: str | None, rows: int) -> repos_pb2.ContentRange | None:
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
    return repos_pb2.ContentRange(offset=offset, count=count, total=total)
