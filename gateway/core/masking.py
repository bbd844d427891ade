"""Secrets in texts of others, however they are spelled there: verbatim, in other case, percent-encoded, in base64."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from typing import NamedTuple

MASK = "***"
MIN_SECRET = 6

# How often a text may be percent-encoded: a query inside of a query is so twice.
_LAYERS = 2

_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})")
_BASE64_RUN = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


class _View(NamedTuple):
    """A text as one layer of encoding shows it, and where in the text itself each of its bytes begins."""

    text: bytes
    starts: list[int] | range


def mask(text: str, secrets: tuple[str, ...]) -> str:
    """Return a text without secrets; what base64 holds one is masked with all that stands around it."""
    source = text.encode(errors="surrogatepass")
    masked, done = b"", 0
    for start, end in sorted(_find(source, secrets)):
        if start > done or not masked:
            masked += source[done:start] + MASK.encode()
        done = max(done, end)
    return (masked + source[done:]).decode(errors="surrogatepass")


def shows(text: str, secrets: tuple[str, ...]) -> bool:
    """Tell whether a text shows a secret."""
    return any(_find(text.encode(errors="surrogatepass"), secrets))


def _find(source: bytes, secrets: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Yield where secrets begin and end.

    Of a few characters is no secret, but a mistake of who sends it; masked, it would leave no word whole.
    """
    worth = [secret.encode(errors="surrogatepass") for secret in secrets if len(secret) >= MIN_SECRET]
    for view in _views(source) if worth else ():
        lower, base64 = view.text.lower(), view.text.translate(_URL_SAFE)
        for secret in worth:
            # Forms write a blank as a plus.
            for spelling in {secret.lower(), secret.lower().replace(b" ", b"+")}:
                for start in _places(lower, spelling):
                    yield view.starts[start], view.starts[start + len(spelling)]
            parts = [part for part in _in_base64(secret) if part in base64]
            for run in _BASE64_RUN.finditer(base64) if parts else ():
                if any(part in run[0] for part in parts):
                    yield view.starts[run.start()], view.starts[run.end()]


def _views(source: bytes) -> Iterator[_View]:
    """Yield a text as it is, and without one layer of percent-encoding after the other."""
    view = _View(source, range(len(source) + 1))
    yield view
    for _ in range(_LAYERS):
        if not _ENCODED.search(view.text):
            return
        view = _decode(view)
        yield view


def _decode(view: _View) -> _View:
    text, starts, done = bytearray(), list[int](), 0
    for match in _ENCODED.finditer(view.text):
        text += view.text[done : match.start()]
        starts += view.starts[done : match.start() + 1]
        text.append(int(match[1], 16))
        done = match.end()
    return _View(bytes(text + view.text[done:]), [*starts, *view.starts[done:]])


def _in_base64(secret: bytes) -> Iterator[bytes]:
    """Yield the characters of base64 that a secret alone decides, for each of the places at which it may begin."""
    for before in range(3):
        begin, end = -(-before * 8 // 6), (before + len(secret)) * 8 // 6
        yield b64encode(bytes(before) + secret)[begin:end]


def _places(text: bytes, wanted: bytes) -> Iterator[int]:
    place = text.find(wanted)
    while place >= 0:
        yield place
        place = text.find(wanted, place + 1)
