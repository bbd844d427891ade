"""The hand-written frame of a field is the one that protobuf writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.wire import encode_length_delimited
from gateway.swr.v1.repos_pb2 import Repo

TAG_NAME = b"\x0a"


def name_as_protobuf_writes_it(name: str) -> bytes:
    return Repo(name=name).SerializeToString()


@pytest.mark.parametrize("length", [1, 127, 128, 129, 255, 256, 16_383, 16_384, 16_385, 2_097_151, 2_097_152])
def test_a_length_takes_as_many_bytes_as_protobuf_gives_it(length: int) -> None:
    assert encode_length_delimited(TAG_NAME, b"x" * length) == name_as_protobuf_writes_it("x" * length)


def test_a_length_of_nothing_is_written_too() -> None:
    assert encode_length_delimited(TAG_NAME, b"") == b"\x0a\x00"


def test_a_tag_may_be_longer_than_a_byte() -> None:
    assert encode_length_delimited(b"\x8a\x01", b"logo") == Repo(logo="logo").SerializeToString()


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.sampled_from([1, 50, 5000]))
def test_any_text_is_framed_as_protobuf_frames_it(text: str, times: int) -> None:
    name = text * times
    assert encode_length_delimited(TAG_NAME, name.encode()) == name_as_protobuf_writes_it(name)
