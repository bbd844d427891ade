"""From pages, row by row, to the messages of a StreamRepos call: split, without doubles, each one resumable."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

from gateway.core.content_range import encode_content_range
from gateway.core.filter import Page
from gateway.core.pager import MAX_OFFSET, Pager
from gateway.core.pages import RowPage
from gateway.core.row_decoding import Identity
from gateway.swr.v1 import repos_pb2

MAX_MESSAGE_BYTES = 2**20
# The first message of a stream. Nobody knows yet whether its reader reads, and gRPC keeps two copies of a message that
# waits. A page of the default size fits.
FIRST_MESSAGE_BYTES = 2**16
# What position and next offset take at the most.
_TRAILER_BYTES = 64
# Repositories that are remembered as sent, as digests of 16 bytes: some twenty of the largest pages, or 3 MB.
MAX_REMEMBERED = 20_000


class _Offsets(NamedTuple):
    """Where the rows of a page lie that are to be sent.

    Attributes:
        page: The page's offset.
        rows: Their places on it.
        end: Where to go on behind the page.
    """

    page: int
    rows: Sequence[int]
    end: int

    def behind(self, left: int) -> int:
        """Return the offset of the first of those that are left, so many; behind the page where none is."""
        return self.page + self.rows[-left] if left else self.end


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
        self._message_bytes = FIRST_MESSAGE_BYTES
        self._seen: set[bytes] = set()
        self._seen_in_order: deque[bytes] = deque()

    def take(self, rows: RowPage) -> Iterator[bytes]:
        """Take the page that comes next and return its serialized messages, to be iterated over before the next one.

        There is at least one, for it says how far the stream has come; and none only where the page could not be used
        and is going to be asked for in another way. A message holds at most 64 KiB if it is the first, twice as much
        as the one before after that, and 1 MiB in the end, unless a single row is larger than that. What was made a
        message of is not kept.

        Raises:
            GatewayError: UPSTREAM_NO_PROGRESS: the list does not go on, and does not end.
        """
        in_front = self.pager.rows_in_front(rows)
        if in_front is None:
            return iter(())
        behind = range(in_front, len(rows.fields))
        fresh: Sequence[int] = [index for index in behind if self._is_new(rows, index)]
        self.pager.advance(rows, len(fresh))
        self.sent += len(fresh)
        fields = [rows.fields[index] for index in reversed(fresh)]
        # Nearly always all of them, and a range takes no memory.
        offsets = _Offsets(rows.page.offset, behind if len(fresh) == len(behind) else fresh, self.pager.position)
        return self._messages(fields, offsets, encode_content_range(rows.position))

    def _messages(self, fields: list[bytes], offsets: _Offsets, position: bytes) -> Iterator[bytes]:
        """Make messages of rows, the last one first in the list."""
        while True:
            yield _message(self._take_rows(fields), position, offsets.behind(len(fields)))
            # Who asks for the next one has sent this one.
            self._message_bytes = min(2 * self._message_bytes, MAX_MESSAGE_BYTES)
            if not fields:
                return

    def _take_rows(self, fields: list[bytes]) -> list[bytes]:
        """Take the rows of one message."""
        taken: list[bytes] = []
        room = self._message_bytes - _TRAILER_BYTES
        while fields and (len(fields[-1]) <= room or not taken):
            room -= len(fields[-1])
            taken.append(fields.pop())
        return taken

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


def _message(fields: list[bytes], position: bytes, next_offset: int) -> bytes:
    trailer = repos_pb2.StreamReposResponse(next_offset=min(next_offset, MAX_OFFSET)).SerializeToString()
    return b"".join((*fields, position, trailer))
