"""From pages, row by row, to the messages of a StreamRepos call: split, without doubles, each one resumable."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from hashlib import blake2b

from gateway.core.convert import RowPage, encode_position
from gateway.core.filter import Page
from gateway.core.pager import MAX_OFFSET, Pager
from gateway.core.rows import Identity
from gateway.swr.v1 import repos_pb2

MAX_MESSAGE_BYTES = 2**20
# What position and next offset take at the most.
_TRAILER_BYTES = 64
# Repositories that are remembered as sent, as digests of 16 bytes: some twenty of the largest pages, or 3 MB.
MAX_REMEMBERED = 20_000


class StreamAssembler:
    """Puts the messages of one call together.

    Args:
        wanted: The index of the first repository, and the most to ask for at a time.

    Attributes:
        pager: Which page comes next.
        sent: Repositories in all messages so far.
    """

    def __init__(self, wanted: Page) -> None:
        self.pager = Pager(wanted)
        self.sent = 0
        self._seen: set[bytes] = set()
        self._seen_in_order: deque[bytes] = deque()

    def take(self, rows: RowPage) -> Iterator[bytes]:
        """Take the page that comes next and return its serialized messages, to be iterated over before the next one.

        There is at least one, for it says how far the stream has come; and none only where the page could not be used
        and is going to be asked for in another way. A message holds at most 1 MiB, unless a single row is larger than
        that.

        Raises:
            GatewayError: UPSTREAM_NO_PROGRESS: the list does not go on, and does not end.
        """
        in_front = self.pager.rows_in_front(rows)
        if in_front is None:
            return iter(())
        fresh = [index for index in range(in_front, len(rows.fields)) if self._is_new(rows, index)]
        self.pager.advance(rows, len(fresh))
        self.sent += len(fresh)
        return _messages(rows, fresh, self.pager.position)

    def _is_new(self, rows: RowPage, index: int) -> bool:
        """Remember a repository; tell whether it was not seen yet."""
        digest = _digest(rows.identities[index], rows.fields[index])
        if digest in self._seen:
            return False
        self._seen.add(digest)
        self._seen_in_order.append(digest)
        if len(self._seen_in_order) > MAX_REMEMBERED:
            self._seen.discard(self._seen_in_order.popleft())
        return True


def _digest(identity: Identity, field: bytes) -> bytes:
    """Return what a repository is known by: its identity, or all that it says where name or namespace are missing."""
    namespace, name, *_ = identity
    known_by = "\0".join(identity).encode() if namespace and name else field
    return blake2b(known_by, digest_size=16).digest()


def _messages(rows: RowPage, fresh: list[int], next_offset: int) -> Iterator[bytes]:
    position = encode_position(rows.position)
    fields: list[bytes] = []
    size = 0
    for index in fresh:
        field = rows.fields[index]
        if fields and size + len(field) > MAX_MESSAGE_BYTES - _TRAILER_BYTES:
            yield _message(fields, position, rows.page.offset + index)
            fields, size = [], 0
        fields.append(field)
        size += len(field)
    yield _message(fields, position, next_offset)


def _message(fields: list[bytes], position: bytes, next_offset: int) -> bytes:
    trailer = repos_pb2.StreamReposResponse(next_offset=min(next_offset, MAX_OFFSET)).SerializeToString()
    return b"".join((*fields, position, trailer))
