"""Replaces or escapes control characters in text of others, which must not give orders to a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable


def cleaned(text: str) -> str:
    """Return text for people: what cannot be printed is U+FFFD."""
    return _replaced(text, lambda _: "\ufffd")


def escaped(document: str) -> str:
    r"""Return one line of JSON for people and programs: what cannot be printed is `\u....`, the same to a parser."""
    return _replaced(document, lambda character: json.dumps(character)[1:-1])


def _replaced(text: str, replace: Callable[[str], str]) -> str:
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else replace(character) for character in text)
