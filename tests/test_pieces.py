"""Large arrays in pieces: the elements are those of the whole, whatever looks like the place between two of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import UPSTREAM_MALFORMED_RESPONSE, GatewayError
from gateway.core.pieces import Body, decode_in_pieces
from gateway.core.row_decoding import split_rows

SMALL = 16

# Texts and nests that look like the end of one object and the beginning of the next.
TEXTS = st.text(max_size=8) | st.sampled_from(["},{", "} , {", '"},{"', "\\},{", "}]", "[{", "},{" * 20])
OBJECTS = st.recursive(
    st.dictionaries(TEXTS, TEXTS | st.integers() | st.none(), max_size=3),
    lambda inner: st.dictionaries(TEXTS, inner | st.lists(inner, max_size=3), max_size=3),
    max_leaves=8,
)
STYLES: list[dict[str, Any]] = [{}, {"separators": (",", ":")}, {"indent": 1}, {"ensure_ascii": False}]


def decode(array: bytes, _: Sequence[int]) -> list[Any]:
    return [json.loads(row) for row in split_rows(array)]


def pieces(array: Body, size: int = SMALL) -> list[list[Any]]:
    return list(decode_in_pieces(array, decode, size))


@given(st.lists(OBJECTS, max_size=12), st.sampled_from(STYLES), st.sampled_from(["", " ", "\r\n\t"]))
def test_the_elements_of_all_pieces_are_those_of_the_array(
    objects: list[Any], style: dict[str, Any], blank: str
) -> None:
    array = f"{blank}{json.dumps(objects, **style)}{blank}".encode()
    assert [element for piece in pieces(array) for element in piece] == objects
    assert pieces(bytearray(array)) == pieces(array)


@given(st.lists(OBJECTS, min_size=2, max_size=8), st.data())
def test_what_is_no_array_as_a_whole_is_none_in_pieces(objects: list[Any], data: st.DataObject) -> None:
    array = json.dumps(objects).encode()
    place = data.draw(st.integers(0, len(array) - 1))
    broken = array[:place] + data.draw(st.sampled_from([b"", b"}", b"},{", b"]", b"\v", b"\0"])) + array[place + 1 :]
    try:
        whole = decode(broken, ())
    except GatewayError:
        with pytest.raises(GatewayError):
            pieces(broken)
    else:
        assert [element for piece in pieces(broken) for element in piece] == whole


def test_pieces_are_as_large_as_they_are_wanted() -> None:
    array = json.dumps([{"number": number} for number in range(1000)]).encode()
    sizes = [len(piece) for piece in pieces(array, 1000)]
    assert sum(sizes) == 1000
    assert max(sizes) <= 1 + 1000 // len('{"number": 0}, ')
    assert len(pieces(array, len(array))) == 1


def test_elements_are_numbered_through_all_pieces() -> None:
    told: list[int] = []

    def note(array: bytes, numbers: Sequence[int]) -> list[bytes]:
        rows = split_rows(array)
        told.extend(numbers[: len(rows)])
        return rows

    array = json.dumps([{"a": 1}] * 50).encode()
    for size, least in ((SMALL, 11), (len(array), 1)):
        told.clear()
        assert len(list(decode_in_pieces(array, note, size))) >= least
        assert told == list(range(50))


def test_text_full_of_false_places_costs_no_more_than_a_few_decodes() -> None:
    decoded: list[int] = []

    def count(array: bytes, _: Sequence[int]) -> list[bytes]:
        decoded.append(len(array))
        return split_rows(array)

    array = json.dumps([{"text": "},{" * 10_000}, {}]).encode()
    assert len(list(decode_in_pieces(array, count, SMALL))) == 1
    assert sum(decoded) < 3 * len(array)


def test_behind_a_false_place_pieces_are_small_again() -> None:
    array = json.dumps([{"text": "},{" * 10}, *[{"a": 1}] * 50]).encode()
    assert max(map(len, pieces(array)[1:])) <= 3


def test_an_element_that_is_refused_is_not_looked_for_in_larger_pieces() -> None:
    decoded: list[bytes] = []

    def refuse(array: bytes, _: Sequence[int]) -> list[bytes]:
        decoded.append(array)
        raise GatewayError(UPSTREAM_MALFORMED_RESPONSE)

    with pytest.raises(GatewayError):
        list(decode_in_pieces(json.dumps([{"a": 1}] * 50).encode(), refuse, SMALL))
    assert decoded == [b'[{"a": 1}, {"a": 1}]']


@pytest.mark.parametrize("array", [b"null", b" null ", b"[]", b'{"a":[{},{}]}' * 9, b"", b"<html>" * 9])
def test_what_has_no_two_elements_is_one_piece(array: bytes) -> None:
    given: list[bytes] = []

    def note(piece: bytes, _: Sequence[int]) -> list[bytes]:
        given.append(piece)
        return []

    assert list(decode_in_pieces(array, note, SMALL)) == [[]]
    assert given == [array]
