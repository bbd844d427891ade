"""JSON as servers write it: decoders that bear half of a surrogate pair, and integers by their text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

Decoded = TypeVar("Decoded")

# What a decoder raises for a syntax error, a wrong type, text that is not UTF-8, and too deep a nest.
REFUSED = (ValueError, RecursionError)

# Text up to a half of a surrogate pair that is written as an escape. Possessive, so that no byte is looked at twice.
_UP_TO_HALF_A_PAIR = re.compile(
    rb"""((?:
        [^\\]++
        | \\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}  # both halves
        | \\(?!u[dD][89a-fA-F][0-9a-fA-F]{2}).                        # any other escape
    )*+)
    \\u[dD][89a-fA-F][0-9a-fA-F]{2}""",
    re.VERBOSE | re.DOTALL,
)
_REPLACEMENT = rb"\ufffd"

_INTEGER = re.compile(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?", re.ASCII)
_INT64 = range(-(2**63), 2**63)
_INT64_DIGITS = 19

_decode_text_or_null = msgspec.json.Decoder(str | None).decode


def replace_half_pairs(text: bytes) -> bytes:
    r"""Replace each half of a surrogate pair in a JSON text by U+FFFD, as Go's encoding/json does.

    What cuts texts in Java or JavaScript leaves such halves behind: `"\ud83d"`. No UTF-8 can hold them.
    """
    parts: list[bytes] = []
    end = 0
    while match := _UP_TO_HALF_A_PAIR.match(text, end):
        parts += match[1], _REPLACEMENT
        end = match.end()
    return b"".join([*parts, text[end:]]) if parts else text


def forgiving(decode: Callable[[bytes], Decoded]) -> Callable[[bytes], Decoded]:
    """Return a decoder that replaces halves of surrogate pairs where the one given refuses a text.

    A text that is decoded as it is costs nothing more.
    """

    def decode_forgivingly(text: bytes) -> Decoded:
        try:
            return decode(text)
        except REFUSED:
            replaced = replace_half_pairs(text)
            if replaced is text:
                raise
        return decode(replaced)

    return decode_forgivingly


def read_integer(text: bytes) -> int | None:
    """Read an integer from its JSON: a number, a number in a string, or null, which is none.

    A whole number may be spelled `1.0` or `1e3`, as ProtoJSON has it. It is exact, for no float comes into it.

    Raises:
        ValueError: It is none of these, or no int64 holds it.
    """
    literal = _decode_text_or_null(text) if text.startswith((b'"', b"n")) else text.decode()
    if literal is None:
        return None
    match = _INTEGER.fullmatch(literal)
    if match is None:
        raise ValueError("not an integer")
    sign, whole, fraction, exponent = match.groups(default="")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return 0
    significant = digits.rstrip("0")
    zeros = len(digits) - len(significant) - len(fraction) + int(exponent or "0")
    # Counted before it is computed: 1e999999999 would fill the memory.
    if zeros >= 0 and len(significant) + zeros <= _INT64_DIGITS:
        value = int(f"{sign}{significant}{'0' * zeros}")
        if value in _INT64:
            return value
    raise ValueError("not a whole number of 64 bits")
