"""From pages, row by row, to the messages of a StreamRepos call: split, without doubles, each one resumable."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from hashlib import blake2b

from gateway.core.convert import RowPage, encode_position
from gateway.core.errors import UPSTREAM_NO_PROGRESS, GatewayError
from gateway.swr.v1 import repos_pb2

MAX_MESSAGE_BYTES = 2**20
# What position and next offset take at the most.
_TRAILER_BYTES = 64
# Repositories that are remembered as sent: some twenty of the largest pages, or 3 MB.
MAX_REMEMBERED = 20_000

# An offset is an int32.
MAX_OFFSET = 2**31 - 1

Identity = tuple[str, str] | bytes


class StreamAssembler:
    """Puts the messages of one call together. Pages come in the order of their offsets."""

    def __init__(self) -> None:
        self._sent: set[Identity] = set()
        self._sent_in_order: deque[Identity] = deque()

    def messages(self, rows: RowPage) -> Iterator[bytes]:
        """Return the serialized messages of one page, at least one: it says how far the stream has come.

        A message holds at most 1 MiB, unless a single row is larger than that.

        Raises:
            GatewayError: UPSTREAM_NO_PROGRESS where a full page brings nothing new, and the upstream does not even
                claim that it is the page that was asked for.
        """
        position = encode_position(rows.position)
        fields: list[bytes] = []
        size = sent = 0
        for index, field in enumerate(rows.fields):
            if not self._is_new(rows.identities[index], field):
                continue
            sent += 1
            if fields and size + len(field) > MAX_MESSAGE_BYTES - _TRAILER_BYTES:
                yield _message(fields, position, rows.page.offset + index)
                fields, size = [], 0
            fields.append(field)
            size += len(field)
        if rows.fields and not sent:
            _check_progress(rows)
        yield _message(fields, position, rows.page.offset + len(rows.fields))

    def _is_new(self, name: tuple[str, str], field: bytes) -> bool:
        """Remember a repository; tell whether it was not sent yet. One without a name is known by all that it says."""
        identity = name if name[1] else blake2b(field, digest_size=16).digest()
        if identity in self._sent:
            return False
        self._sent.add(identity)
        self._sent_in_order.append(identity)
        if len(self._sent_in_order) > MAX_REMEMBERED:
            self._sent.discard(self._sent_in_order.popleft())
        return True


def is_last(rows: RowPage) -> bool:
    """Tell whether a page ends the list: it is short, or reaches the total."""
    total = known_total(rows)
    return len(rows.fields) < rows.page.limit or (total is not None and rows.page.offset + rows.page.limit >= total)


def known_total(rows: RowPage) -> int | None:
    """Return how many repositories there are in all; a total that the page itself disproves is none."""
    total = rows.position.total if rows.position else None
    return None if total is None or total < rows.page.offset + len(rows.fields) else total


def _check_progress(rows: RowPage) -> None:
    """Refuse a full page of repeats, unless the upstream says that it is the page that was asked for.

    A list that grows in front of us repeats rows too, but an upstream that ignores offsets does not know where we are.
    """
    if len(rows.fields) >= rows.page.limit and not rows.claimed:
        raise GatewayError(UPSTREAM_NO_PROGRESS)


def _message(fields: list[bytes], position: bytes, next_offset: int) -> bytes:
    trailer = repos_pb2.StreamReposResponse(next_offset=min(next_offset, MAX_OFFSET)).SerializeToString()
    return b"".join((*fields, position, trailer))
