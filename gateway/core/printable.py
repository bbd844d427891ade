r"""Replaces or escapes control characters in text of others, which must not give orders to a terminal.

Escape and its like are not all of them: C1 has the same orders in one character, and others turn the direction of a
text or end its line. `str.isprintable` is false for all of these. What is written to a terminal has none; nor has JSON
anywhere, for its escapes mean the same to a parser.
"""

from __future__ import annotations

import json
from collections.abc import Callable


def cleaned(text: str) -> str:
    """Return text for people: what cannot be printed is U+FFFD."""
    return _replaced(text, lambda _: "\ufffd")


def backslashed(text: str) -> str:
    r"""Return text for people who look for a fault: what cannot be printed is `\x1b`, `\n`, `\u202e`."""
    return _replaced(text, lambda character: character.encode("unicode_escape").decode())


def escaped(document: str) -> str:
    r"""Return one line of JSON for people and programs: what cannot be printed is `\u....`, the same to a parser."""
    return _replaced(document, lambda character: json.dumps(character)[1:-1])


def _replaced(text: str, replace: Callable[[str], str]) -> str:
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else replace(character) for character in text)
