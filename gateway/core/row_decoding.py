"""Repositories as JSON: from the text of an array to rows.

Rows that are as documented take the fast way, a typed decoder. Rows that it refuses are read again by the tolerant
rules: a number in a string, a whole number spelled `1.0` or `1e3`, and a bool in the string "true" or "false" are
accepted, anything else of a wrong type is the upstream's fault.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec.structs import astuple

from gateway.core.errors import UPSTREAM_MALFORMED_RESPONSE, GatewayError
from gateway.core.json_text import REFUSED, forgiving, read_integer

Element = TypeVar("Element")
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
# The longest text that is read as a time: they are remembered by it, and none is longer.
MAX_TIME_CHARACTERS = 64
Time = Annotated[str, msgspec.Meta(max_length=MAX_TIME_CHARACTERS)]


class RepoRow(msgspec.Struct, gc=False):
    """A repository as the upstream documents it. Missing and null are the same, unknown fields are ignored."""

    name: str | None = None
    category: str | None = None
    description: str | None = None
    size: Int64 | None = None
    is_public: bool | None = None
    num_images: Int64 | None = None
    num_download: Int64 | None = None
    created_at: Time | None = None
    updated_at: Time | None = None
    url: str | None = None
    path: str | None = None
    internal_path: str | None = None
    domain_name: str | None = None
    namespace: str | None = None
    tags: list[str] | None = None
    status: bool | None = None
    logo: str | None = None


# What tells a repository from others: namespace, name, domain_name and path. Tenants may share namesakes.
Identity = tuple[str, str, str, str]


class _Names(msgspec.Struct, gc=False):
    namespace: Any = None
    name: Any = None
    domain_name: Any = None
    path: Any = None


_NOTHING = msgspec.Raw(b"null")


class _Total(msgspec.Struct, gc=False):
    total_range: msgspec.Raw = _NOTHING


class _Codes(msgspec.Struct, gc=False):
    errorCode: msgspec.Raw = _NOTHING  # noqa: N815 - the upstream's name
    error_code: msgspec.Raw = _NOTHING


_decode_typed = forgiving(msgspec.json.Decoder(list[RepoRow] | None).decode)
_decode_names = forgiving(msgspec.json.Decoder(list[_Names] | None).decode)
_decode_totals = forgiving(msgspec.json.Decoder(list[_Total] | None).decode)
_decode_codes = forgiving(msgspec.json.Decoder(list[_Codes] | None).decode)
_split = forgiving(msgspec.json.Decoder(list[msgspec.Raw] | None).decode)
# The same fields with any value: what is unknown is skipped here as it is there, whatever it holds.
_LooseRow = msgspec.defstruct("_LooseRow", [(name, msgspec.Raw, _NOTHING) for name in RepoRow.__struct_fields__])
_decode_loose = msgspec.json.Decoder(_LooseRow).decode


_FROM_ZERO = range(sys.maxsize)


def decode_rows(array: bytes, numbers: Sequence[int] = _FROM_ZERO) -> list[RepoRow]:
    """Decode a JSON array of repositories, or null, which is none.

    Args:
        array: Its text.
        numbers: Which rows of their page they are, for the log.

    Raises:
        GatewayError: UPSTREAM_MALFORMED_RESPONSE where it is no array, an element is no object, or a value has a
            wrong type, or is an error; its detail names row and field.
    """
    try:
        rows = _decode_typed(array) or []
    except REFUSED:
        texts = split_rows(array)
        rows = [_read_row(number, text) for number, text in zip(numbers, texts, strict=False)]
    if not all(row.name for row in rows):
        _refuse_errors(array, rows, numbers)
    return rows


def _refuse_errors(array: bytes, rows: Sequence[RepoRow], numbers: Sequence[int]) -> None:
    """Refuse what has an error's code in place of a name: the upstream writes its errors as an array too."""
    for number, row, told in zip(numbers, rows, _decode_codes(array) or (), strict=False):
        if not row.name and not {bytes(told.errorCode), bytes(told.error_code)} <= {b"null", b'""'}:
            raise GatewayError(UPSTREAM_MALFORMED_RESPONSE, detail=f"row {number}: an error and no repository")


def split_rows(array: bytes) -> list[bytes]:
    """Split a JSON array into the text of its elements. This checks the syntax of all of it.

    Raises:
        GatewayError: UPSTREAM_MALFORMED_RESPONSE where it is no array, nor null.
    """
    return list(map(bytes, _elements(_split, array)))


def is_array(text: bytes) -> bool:
    """Tell whether a text is an array of JSON, or null, whatever it holds."""
    try:
        _split(text)
    except REFUSED:
        return False
    return True


def decode_totals(array: bytes) -> list[bytes]:
    """Return the JSON of each row's `total_range`, the number of matches that newer answers carry; else null.

    Raises:
        GatewayError: As `split_rows` does.
    """
    return [bytes(row.total_range) for row in _elements(_decode_totals, array)]


def decode_identities(array: bytes) -> list[Identity]:
    """Return the identity of each row, of an array that `decode_rows` accepts. What a row lacks is empty.

    Raises:
        GatewayError: As `split_rows` does.
    """
    return [
        (row.namespace or "", row.name or "", row.domain_name or "", row.path or "")
        for row in _elements(_decode_names, array)
    ]


def _elements(decode: Callable[[bytes], list[Element] | None], array: bytes) -> list[Element]:
    try:
        return decode(array) or []
    except REFUSED as error:
        raise GatewayError(UPSTREAM_MALFORMED_RESPONSE, detail=str(error)) from error


def _read_row(number: int, row: bytes) -> RepoRow:
    field = ""
    try:
        told = []
        for (field, read), value in zip(_READERS.items(), astuple(_decode_loose(row)), strict=True):  # noqa: B007 - told of below
            told.append(read(value))
        return RepoRow(*told)
    except REFUSED as error:
        place = f"row {number}, field {field}" if field else f"row {number}"
        raise GatewayError(UPSTREAM_MALFORMED_RESPONSE, detail=f"{place}: {error}") from error


_BOOLS = {"true": True, "false": False}

_read_text = msgspec.json.Decoder(str | None).decode
_read_texts = msgspec.json.Decoder(list[str] | None).decode
_decode_bool: Callable[[msgspec.Raw], bool | str | None] = msgspec.json.Decoder(bool | str | None).decode


def _read_time(value: msgspec.Raw) -> str | None:
    text = _read_text(value)
    return None if text is None or len(text) > MAX_TIME_CHARACTERS else text


def _read_integer(value: msgspec.Raw) -> int | None:
    return read_integer(bytes(value))


def _read_bool(value: msgspec.Raw) -> bool | None:
    told = _decode_bool(value)
    if isinstance(told, str):
        if told not in _BOOLS:
            raise ValueError("not a bool")
        return _BOOLS[told]
    return told


_KINDS: dict[Callable[[msgspec.Raw], Any], str] = {
    _read_text: "name category description url path internal_path domain_name namespace logo",
    _read_time: "created_at updated_at",
    _read_integer: "size num_images num_download",
    _read_bool: "is_public status",
    _read_texts: "tags",
}
_READERS = {
    field: next(read for read, fields in _KINDS.items() if field in fields.split())
    for field in RepoRow.__struct_fields__
}
