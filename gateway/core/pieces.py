"""Cuts a large JSON array into small ones, so that no step of work takes long.

A decoder reads an array in one go: 57 MiB of it held up the event loop for a tenth of a second. What looks like the
place between two objects may lie in a text or inside of an object; a decoder tells, for only cuts at true places leave
JSON on their left. Such a piece is made twice as large, so that all attempts together cost no more than twice the work.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias, TypeVar

from gateway.core.errors import GatewayError
from gateway.core.row_decoding import is_array

Element = TypeVar("Element")
# A large one is a bytearray, as it was received: a copy of it takes long, too.
Body: TypeAlias = bytes | bytearray

# Of JSON text: decoded and encoded in a millisecond or two.
PIECE_BYTES = 128 * 1024

# JSON's own white space. Possessive, so that no byte is looked at twice.
_OPENING = re.compile(rb"[ \t\r\n]*+\[")
_BETWEEN_OBJECTS = re.compile(rb"\}([ \t\r\n]*+,[ \t\r\n]*+)\{")


def decode_in_pieces(
    array: Body, decode: Callable[[bytes, Sequence[int]], list[Element]], piece_bytes: int = PIECE_BYTES
) -> Iterator[list[Element]]:
    """Decode a JSON array piece by piece; one that is small is a single piece.

    Args:
        array: Its text.
        decode: Decodes an array; told which elements of the whole one they are.
        piece_bytes: About how large a piece is.

    Yields:
        The elements of each piece. Those of all of them are the array's.

    Raises:
        GatewayError: What `decode` raises for a piece that is an array, or for the last one.
    """
    opening = _OPENING.match(array) if len(array) > piece_bytes else None
    if opening is None:
        yield decode(bytes(array), range(sys.maxsize))
        return
    start, size, first = opening.end(), piece_bytes, 0
    while cut := _BETWEEN_OBJECTS.search(array, start + size):
        piece = b"".join((b"[", array[start : cut.start()], b"}]"))
        try:
            elements = decode(piece, range(first, sys.maxsize))
        except GatewayError:
            if is_array(piece):
                raise
            size *= 2
            continue
        yield elements
        start, size, first = cut.end() - 1, piece_bytes, first + len(elements)
    yield decode(b"[" + array[start:], range(first, sys.maxsize))
