"""One repository: from its JSON object to the bytes of one `repos` field of the reply.

Rows that are as documented take the fast way, a typed decoder and plain attribute sets, measured as the cheapest that
Python has (`make bench`). Rows that the typed decoder refuses are read again by the tolerant rules: a number in a
string, a whole number spelled `1.0` or `1e3`, and a bool in the string "true" or "false" are accepted, anything else of
a wrong type is the upstream's fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec.structs import astuple

from gateway.core.errors import UPSTREAM_MALFORMED_RESPONSE, GatewayError
from gateway.core.json_text import REFUSED, forgiving, read_integer
from gateway.core.timestamps import parse_time
from gateway.core.wire import encode_length_delimited
from gateway.swr.v1 import repos_pb2

_TAG_REPOS = b"\x0a"  # ListReposResponse.repos
_TAG_CREATED_AT = b"\x42"  # Repo.created_at
_TAG_UPDATED_AT = b"\x4a"  # Repo.updated_at


Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
# No time is longer, and times are remembered by their text.
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


class _Codes(msgspec.Struct, gc=False):
    errorCode: msgspec.Raw = _NOTHING  # noqa: N815 - the upstream's name
    error_code: msgspec.Raw = _NOTHING


_decode_typed = forgiving(msgspec.json.Decoder(list[RepoRow] | None).decode)
_decode_names = forgiving(msgspec.json.Decoder(list[_Names] | None).decode)
_decode_codes = forgiving(msgspec.json.Decoder(list[_Codes] | None).decode)
_split = forgiving(msgspec.json.Decoder(list[msgspec.Raw] | None).decode)
# The same fields with any value: what is unknown is skipped here as it is there, whatever it holds.
_LooseRow = msgspec.defstruct("_LooseRow", [(name, msgspec.Raw, _NOTHING) for name in RepoRow.__struct_fields__])
_decode_loose = msgspec.json.Decoder(_LooseRow).decode


def decode_rows(array: bytes, numbers: Sequence[int] | None = None) -> list[RepoRow]:
    """Decode a JSON array of repositories, or null, which is none.

    Args:
        array: Its text.
        numbers: Which rows of their page they are, for the log; None where they are the page.

    Raises:
        GatewayError: UPSTREAM_MALFORMED_RESPONSE where it is no array, an element is no object, or a value has a
            wrong type, or is an error; its detail names row and field.
    """
    try:
        rows = _decode_typed(array) or []
    except REFUSED:
        texts = split_rows(array)
        rows = [_read_row(number, text) for number, text in zip(numbers or range(len(texts)), texts, strict=True)]
    if not all(row.name for row in rows):
        _refuse_errors(array, rows, numbers)
    return rows


def _refuse_errors(array: bytes, rows: Sequence[RepoRow], numbers: Sequence[int] | None) -> None:
    """Refuse what has an error's code in place of a name: the upstream writes its errors as an array too."""
    for number, row, told in zip(numbers or range(len(rows)), rows, _decode_codes(array) or (), strict=True):
        if not row.name and not {bytes(told.errorCode), bytes(told.error_code)} <= {b"null", b'""'}:
            raise GatewayError(UPSTREAM_MALFORMED_RESPONSE, detail=f"row {number}: an error and no repository")


def split_rows(array: bytes) -> list[bytes]:
    """Split a JSON array into the text of its elements. This checks the syntax of all of it.

    Raises:
        GatewayError: UPSTREAM_MALFORMED_RESPONSE where it is no array, nor null.
    """
    try:
        return list(map(bytes, _split(array) or []))
    except REFUSED as error:
        raise GatewayError(UPSTREAM_MALFORMED_RESPONSE, detail=str(error)) from error


def decode_identities(array: bytes) -> list[Identity]:
    """Return the identity of each row, of an array that `decode_rows` accepts. What a row lacks is empty."""
    return [
        (row.namespace or "", row.name or "", row.domain_name or "", row.path or "")
        for row in _decode_names(array) or []
    ]


def encode_page(rows: list[RepoRow]) -> bytes:
    """Serialize rows as the `repos` fields of one reply, all at once: the cheapest way where nothing is remembered."""
    page = repos_pb2.ListReposResponse()
    add = page.repos.add
    for row in rows:
        _fill(add(), row)
    return page.SerializeToString()


def encode_row(row: RepoRow) -> bytes:
    """Serialize one row as one `repos` field: tag, length and message."""
    repo = repos_pb2.Repo()
    _fill(repo, row)
    return encode_length_delimited(_TAG_REPOS, repo.SerializeToString())


def _fill(repo: repos_pb2.Repo, row: RepoRow) -> None:  # noqa: C901, PLR0912 - a loop over names costs a third more
    """Empty values are skipped: proto3 does not send them, and a set costs more than a look."""
    if row.name:
        repo.name = row.name
    if row.category:
        repo.category = row.category
    if row.description:
        repo.description = row.description
    if row.size:
        repo.size = row.size
    if row.is_public:
        repo.is_public = True
    if row.num_images:
        repo.num_images = row.num_images
    if row.num_download:
        repo.num_download = row.num_download
    if row.url:
        repo.url = row.url
    if row.path:
        repo.path = row.path
    if row.internal_path:
        repo.internal_path = row.internal_path
    if row.domain_name:
        repo.domain_name = row.domain_name
    if row.namespace:
        repo.namespace = row.namespace
    if row.tags:
        repo.tags.extend(row.tags)
    if row.status:
        repo.status = True
    if row.logo:
        repo.logo = row.logo
    # Sets on two submessages cost nearly twice as much: each needs an object of its own.
    repo.MergeFromString(_encode_times(row.created_at, row.updated_at))


@lru_cache(maxsize=8192)
def _encode_times(created_at: str | None, updated_at: str | None) -> bytes:
    """Encode a row's times as wire, remembered as a pair: a row changes by its counters, its times seldom."""
    return _encode_time(_TAG_CREATED_AT, created_at) + _encode_time(_TAG_UPDATED_AT, updated_at)


def _encode_time(tag: bytes, text: str | None) -> bytes:
    time = parse_time(text) if text else None
    if time is None:
        return b""
    timestamp = Timestamp()
    timestamp.seconds, timestamp.nanos = time
    return encode_length_delimited(tag, timestamp.SerializeToString())


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
