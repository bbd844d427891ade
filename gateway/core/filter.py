"""From a request to the upstream's request target: the filter mini-language, in its three dialects.

The upstream reads `filter=key::value|key::value` and knows no way to escape its delimiters, so a value that holds one
is refused: it could add a clause that the caller did not ask for. Values are never repaired, cut or escaped.
Source: SWR API reference, "Querying the image repository list".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from gateway.core.errors import INVALID_REQUEST, GatewayError, Violation
from gateway.swr.v1 import repos_pb2

REPOS_PATH = "/v2/manage/repos"
SHARED_REPOS_PATH = "/v2/manage/shared-repositories"

MAX_LIMIT = 1000
DEFAULT_PAGE_SIZE = 100
# The upstream's documents bound namespace and name; category is bounded so that no request line grows without end.
MAX_CHARACTERS = {"namespace": 64, "name": 128, "category": 128}
# The largest request that is remembered: none is larger, but for fields that are not known.
MAX_REMEMBERED_BYTES = 2048

_CENTERS = {
    repos_pb2.CENTER_UNSPECIFIED: "self",
    repos_pb2.CENTER_SELF: "self",
    repos_pb2.CENTER_THIRD_PARTY: "thirdparty",
}


class Dialect(StrEnum):
    """How the upstream wants its filter."""

    FILTER = "filter"
    FILTER_QUOTED = "filter-quoted"
    QUERY = "query"


class Page(NamedTuple):
    """A slice of the list: index of its first repository, and most repositories in it."""

    offset: int
    limit: int


class RepoQuery(NamedTuple):
    """A request that has passed every rule.

    An empty text puts no clause into the filter. Without a page the upstream gives its first hundred repositories.
    """

    center: str
    namespace: str
    name: str
    category: str
    page: Page | None


def read_list_message(message: bytes) -> RepoQuery:
    """Read a serialized ListReposRequest, as `read_list_request` does; what is of the usual size is remembered.

    Raises:
        DecodeError: It is none.
        GatewayError: INVALID_REQUEST with every violation.
    """
    return (_read_and_remember if len(message) <= MAX_REMEMBERED_BYTES else _read_list_message)(message)


def read_list_request(request: repos_pb2.ListReposRequest) -> RepoQuery:
    """Check a request for one page and return what it asks for.

    Raises:
        GatewayError: INVALID_REQUEST with every violation.
    """
    _refuse(*_filter_violations(request.filter), *_page_violations(request))
    page = Page(request.offset, request.limit) if request.HasField("limit") else None
    return _query(request.filter, page)


def read_stream_request(request: repos_pb2.StreamReposRequest) -> RepoQuery:
    """Check a request for all pages and return what it asks for, with the first of them.

    Raises:
        GatewayError: INVALID_REQUEST with every violation.
    """
    _refuse(*_filter_violations(request.filter), *_stream_violations(request))
    size = request.page_size if request.HasField("page_size") else DEFAULT_PAGE_SIZE
    return _query(request.filter, Page(request.start_offset, size))


@lru_cache(maxsize=1024)
def request_target(query: RepoQuery, dialect: Dialect) -> str:
    """Return path and query of the upstream request, percent-encoded as the official SDK does it, byte for byte."""
    if dialect is Dialect.QUERY:
        return _plain_target(query)
    text = "|".join(f"{key}::{value}" for key, value in _clauses(query))
    if dialect is Dialect.FILTER_QUOTED:
        text = f"'{text}'"
    return f"{REPOS_PATH}?{encode_query([('filter', text)])}"


def encode_query(pairs: Iterable[tuple[str, str]]) -> str:
    """Percent-encode a query as the official SDK does.

    Pairs are sorted by key, all but `A-Za-z0-9-_.~` is encoded, a blank as `%20`, with hex digits in upper case.
    """
    return "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in sorted(pairs))


def _plain_target(query: RepoQuery) -> str:
    """Return the target of a newer revision: plain parameters, and another path for what other tenants share."""
    pairs = [(key, value) for key, value in _clauses(query) if (key, value) != ("center", "self")]
    path = REPOS_PATH if query.center == "self" else SHARED_REPOS_PATH
    return f"{path}?{encode_query(pairs)}" if pairs else path


def _read_list_message(message: bytes) -> RepoQuery:
    return read_list_request(repos_pb2.ListReposRequest.FromString(message))


_read_and_remember = lru_cache(maxsize=1024)(_read_list_message)  # callers poll: the same few queries again and again


def _query(wanted: repos_pb2.RepoFilter, page: Page | None) -> RepoQuery:
    return RepoQuery(_CENTERS[wanted.center], wanted.namespace, wanted.name, wanted.category, page)


def _clauses(query: RepoQuery) -> Iterator[tuple[str, str]]:
    """Return the filter's clauses; the center is always one, for the upstream refuses a filter without any."""
    yield "center", query.center
    if query.namespace:
        yield "namespace", query.namespace
    if query.name:
        yield "name", query.name
    if query.category:
        yield "category", query.category
    if query.page:
        yield "offset", str(query.page.offset)
        yield "limit", str(query.page.limit)


def _has_control_character(value: str) -> bool:
    # Printable covers all but separators and the categories C*, so most values need no second look.
    return not value.isprintable() and any(unicodedata.category(character) == "Cc" for character in value)


# What nearly all values are, and what breaks no rule of any field: no need to look at each.
_PLAIN = re.compile(r"[\w./-]{0,64}", re.ASCII)

_VALUE_RULES: tuple[tuple[Callable[[str], bool], str], ...] = (
    (lambda value: "|" in value, "must not hold `|`, which separates the upstream's clauses"),
    (lambda value: "::" in value, "must not hold `::`, which separates the upstream's keys and values"),
    (lambda value: value.startswith(":") or value.endswith(":"), "must not begin or end with `:`"),
    (lambda value: "'" in value or '"' in value, "must not hold a quote"),
    (_has_control_character, "must not hold a control character"),
    (lambda value: value != value.strip(), "must not begin or end with a blank"),
)


def _filter_violations(wanted: repos_pb2.RepoFilter) -> Iterator[Violation]:
    if wanted.center not in _CENTERS:
        yield Violation("filter.center", f"must be one of {', '.join(repos_pb2.Center.keys())}")
    yield from _value_violations("namespace", wanted.namespace)
    yield from _value_violations("name", wanted.name)
    yield from _value_violations("category", wanted.category)


def _value_violations(key: str, value: str) -> Iterator[Violation]:
    if _PLAIN.fullmatch(value):
        return
    for broken, rule in _VALUE_RULES:
        if broken(value):
            yield Violation(f"filter.{key}", rule)
    if len(value) > MAX_CHARACTERS[key]:
        yield Violation(f"filter.{key}", f"must not be longer than {MAX_CHARACTERS[key]} characters")


def _page_violations(request: repos_pb2.ListReposRequest) -> Iterator[Violation]:
    has_offset, has_limit = request.HasField("offset"), request.HasField("limit")
    if has_limit and not has_offset:
        yield Violation("offset", "must be set together with `limit`")
    if has_offset and not has_limit:
        yield Violation("limit", "must be set together with `offset`")
    if has_offset and request.offset < 0:
        yield Violation("offset", "must not be negative")
    if has_limit and not 1 <= request.limit <= MAX_LIMIT:
        yield Violation("limit", f"must be from 1 to {MAX_LIMIT}")


def _stream_violations(request: repos_pb2.StreamReposRequest) -> Iterator[Violation]:
    if request.HasField("page_size") and not 1 <= request.page_size <= MAX_LIMIT:
        yield Violation("page_size", f"must be from 1 to {MAX_LIMIT}")
    if request.start_offset < 0:
        yield Violation("start_offset", "must not be negative")


def _refuse(*violations: Violation) -> None:
    """Raise where there are violations; for readers of the message alone, name the first and count the others."""
    if not violations:
        return
    first = f"{violations[0].field} {violations[0].description}"
    message = first if len(violations) == 1 else f"{first} (and {len(violations) - 1} more)"
    raise GatewayError(INVALID_REQUEST, message=message, violations=violations)
