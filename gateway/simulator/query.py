"""What a request asks the embedded upstream for, in every spelling: the filter, quoted or not, or plain parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.simulator.data import Repository

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

_FILTER_KEYS = frozenset({"center", "namespace", "name", "category"})
_KEYS = _FILTER_KEYS | {"offset", "limit"}
_CENTERS = frozenset({"self", "thirdparty"})

INVALID_FILTER = "SVCSTG.SWR.4001035"
NO_CRITERIA = "SVCSTG.SWR.4000055"
INVALID_PARAMETER = "SVCSTG.SWR.4000014"
INVALID_PAGE_SIZE = "SVCSTG.SWR.4000056"


class BadQueryError(Exception):
    """A request that SWR refuses with 400: its error code and text."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Filter:
    """Which repositories are asked for. None is no clause."""

    center: str = "self"
    namespace: str | None = None
    name: str = ""
    category: str | None = None

    def matches(self, repository: Repository) -> bool:
        """Tell whether a repository is asked for: all clauses, the name as a part of the name."""
        record = repository.record
        return (
            repository.center == self.center
            and self.name in record["name"]
            and self.namespace in (None, record.get("namespace"))
            and self.category in (None, record.get("category"))
        )


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for. `paged` tells whether offset and limit were sent, and so whether Content-Range goes back."""

    filter: Filter
    offset: int
    limit: int
    paged: bool


def read_query(parameters: Mapping[str, str], *, multiples_only: bool = False) -> Query:
    """Read decoded query parameters; where there is a filter and more, the filter wins.

    Args:
        parameters: Of the query.
        multiples_only: Whether an offset has to be a multiple of the limit, as in some regions.

    Raises:
        BadQueryError: As SWR would refuse it.
    """
    clauses = _read_filter(parameters["filter"]) if "filter" in parameters else _read_plain(parameters)
    if clauses.get("center", "self") not in _CENTERS:
        raise BadQueryError(INVALID_FILTER, "Invalid filtering criteria: center must be self or thirdparty.")
    if ("offset" in clauses) != ("limit" in clauses):
        raise BadQueryError(INVALID_PARAMETER, "Invalid API parameters: offset and limit must be used together.")
    paged = "offset" in clauses
    offset = _number(clauses.get("offset", "0"), INVALID_PARAMETER, 0, 2**31 - 1)
    limit = _number(clauses.get("limit", str(DEFAULT_LIMIT)), INVALID_PAGE_SIZE, 1, MAX_LIMIT)
    if multiples_only and offset % limit:
        raise BadQueryError(INVALID_PARAMETER, "Invalid API parameters: offset must be a multiple of limit.")
    return Query(Filter(**{key: value for key, value in clauses.items() if key in _FILTER_KEYS}), offset, limit, paged)


def _read_plain(parameters: Mapping[str, str]) -> dict[str, str]:
    """Read plain parameters; those that the API does not know are ignored, and so are empty ones."""
    return {key: value for key, value in parameters.items() if key in _KEYS and value}


def _read_filter(text: str) -> dict[str, str]:
    if text.startswith("'"):
        text = text[1:].removesuffix("'")
    if not text:
        raise BadQueryError(NO_CRITERIA, "No search criteria.")
    clauses: dict[str, str] = {}
    for clause in text.split("|"):
        key, separator, value = clause.partition("::")
        if not separator or not value or key not in _KEYS:
            raise BadQueryError(INVALID_FILTER, f"Invalid filtering criteria: {clause!r} is no clause.")
        clauses[key] = value
    return clauses


def _number(text: str, code: str, least: int, most: int) -> int:
    digits = text.lstrip("0") or text[:1]
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10 and least <= int(digits) <= most):
        raise BadQueryError(code, f"Invalid API parameters: a number from {least} to {most} is expected.")
    return int(digits)
