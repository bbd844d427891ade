"""Gzip in pieces of any size is what gzip makes of the whole; what is not whole is refused."""

from __future__ import annotations

import gzip
import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.gunzip import STEP_BYTES, BadGzipError, Gunzip

MEMBERS = st.lists(st.tuples(st.binary(max_size=300), st.integers(1, 1000), st.integers(0, 40)), min_size=1, max_size=4)
CUTS = st.lists(st.integers(0, 2000), max_size=6)


def gunzip(pieces: list[bytes]) -> bytes:
    stream = Gunzip()
    parts = [part for piece in pieces for part in stream.feed(piece)]
    stream.end()
    assert all(0 < len(part) <= STEP_BYTES for part in parts)
    return b"".join(parts)


def pieces_of(whole: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    return [whole[start:end] for start, end in itertools.pairwise(edges)]


@given(MEMBERS, CUTS)
@example([(b"x", STEP_BYTES, 0)], [])
@example([(b"x", STEP_BYTES * 2, 9), (b"", 1, 0)], [])
@example([(b"x" * 300, STEP_BYTES // 60, 100_000), (b"y", 1, 0)], [5])
def test_any_members_in_any_pieces_are_what_was_compressed(
    members: list[tuple[bytes, int, int]], cuts: list[int]
) -> None:
    whole = b"".join(gzip.compress(text * times) + bytes(padding) for text, times, padding in members)
    plain = b"".join(text * times for text, times, _ in members)
    assert gunzip(pieces_of(whole, cuts)) == plain == gzip.decompress(whole)


@given(st.binary(max_size=300), CUTS, st.integers(1, 2000))
def test_what_lacks_any_of_its_end_is_refused(text: bytes, cuts: list[int], missing: int) -> None:
    whole = gzip.compress(text)
    cut = whole[: max(len(whole) - missing, 1)]
    with pytest.raises(BadGzipError):
        gunzip(pieces_of(cut, cuts))


@pytest.mark.parametrize("behind", [b"[]", b"\0\0[]", b"\x1f\x8b no gzip"])
def test_what_is_no_gzip_behind_it_is_refused(behind: bytes) -> None:
    with pytest.raises(BadGzipError):
        gunzip([gzip.compress(b"[]") + behind])


@given(st.binary(min_size=1, max_size=100).filter(lambda body: not body.startswith(b"\x1f\x8b")))
def test_what_is_no_gzip_at_all_is_refused(body: bytes) -> None:
    with pytest.raises(BadGzipError):
        gunzip([body])


def test_nothing_is_nothing() -> None:
    assert gunzip([]) == b""


def test_what_becomes_a_thousand_times_its_size_comes_in_steps() -> None:
    stream = Gunzip()
    steps = stream.feed(gzip.compress(bytes(100 * STEP_BYTES)))
    assert len(next(steps)) == STEP_BYTES
    assert sum(map(len, steps)) == 99 * STEP_BYTES
    stream.end()
