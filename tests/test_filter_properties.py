"""What holds for every request: it is refused by the names of its broken fields, or sent as it was asked."""

from __future__ import annotations

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.core.errors import GatewayError
from gateway.core.filter import Dialect, read_list_message, request_target
from gateway.swr.v1.repos_pb2 import Center, ListReposRequest, RepoFilter

Clauses = list[tuple[str, str]]

LONGEST = {"namespace": 64, "name": 128, "category": 128}
THOROUGH = settings(max_examples=300)

# What separates clauses, keys, parameters and lines, as it is and encoded, between words that mean something.
PIECES = st.sampled_from([*"|:'\"%&=+#?/ \n\0\x85\u2028镜", "::", "%7C", "%3A%3A", "center", "thirdparty", "name"])
HOSTILE = st.lists(PIECES, min_size=1, max_size=8).map("".join)
VALUES = st.one_of(
    st.from_regex(r"[a-z0-9._/-]{0,30}", fullmatch=True),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=140),
    st.integers(60, 140).map("x".__mul__),
    HOSTILE,
)


def is_broken(field: str, value: str) -> bool:
    """The rules once more, in other words than the gateway's."""
    return bool(
        re.search(r"\||::|^:|:\Z|['\"\x00-\x1f\x7f-\x9f]", value)
        or (value and (value[0].isspace() or value[-1].isspace()))
        or len(value) > LONGEST[field]
    )


def broken_fields(request: ListReposRequest) -> set[str]:
    has_offset, has_limit = request.HasField("offset"), request.HasField("limit")
    broken = {
        "filter.center": request.filter.center not in Center.values(),
        **{f"filter.{field}": is_broken(field, getattr(request.filter, field)) for field in LONGEST},
        "offset": request.offset < 0 if has_offset else has_limit,
        "limit": not 0 < request.limit <= 1000 if has_limit else has_offset,
    }
    return {field for field, is_so in broken.items() if is_so}


def refused_fields(request: ListReposRequest) -> set[str]:
    try:
        read_list_message(request.SerializeToString())
    except GatewayError as error:
        return {violation.field for violation in error.violations}
    return set()


def asked_clauses(request: ListReposRequest) -> Clauses:
    asked = [("center", "thirdparty" if request.filter.center == Center.CENTER_THIRD_PARTY else "self")]
    asked += [(field, value) for field in LONGEST if (value := getattr(request.filter, field))]
    if request.HasField("limit"):
        asked += [("offset", str(request.offset)), ("limit", str(request.limit))]
    return asked


def received_clauses(target: str, dialect: Dialect) -> Clauses:
    """Read a target as an upstream would, forgiving nothing: every separator must be one that we meant."""
    path, _, query = target.partition("?")
    pairs = [pair(parameter, "=") for parameter in query.split("&") if query]
    if dialect is Dialect.QUERY:
        clauses = [(percent_decoded(key), percent_decoded(value)) for key, value in pairs]
        third_party = ("center", "thirdparty") in clauses
        assert path == ("/v2/manage/shared-repositories" if third_party else "/v2/manage/repos")
        return clauses if third_party else [("center", "self"), *clauses]
    [(key, value)] = pairs
    assert (path, key) == ("/v2/manage/repos", "filter")
    text = percent_decoded(value)
    if dialect is Dialect.FILTER_QUOTED:
        _, text, _ = text.split("'")
    return [pair(clause, "::") for clause in text.split("|")]


def pair(text: str, separator: str) -> tuple[str, str]:
    key, value = text.split(separator)
    assert value.strip(":") == value, "a run of three colons can be split in two ways"
    return key, value


def percent_decoded(text: str) -> str:
    """Knows nothing but `%XX` in upper case."""
    return re.sub(rb"%([0-9A-F]{2})", lambda digits: bytes([int(digits[1], 16)]), text.encode("ascii")).decode()


@st.composite
def requests(draw: st.DrawFn) -> ListReposRequest:
    wanted = RepoFilter.FromString(bytes([0x08, draw(st.integers(0, 2) | st.integers(0, 127))]))
    for field in LONGEST:
        setattr(wanted, field, draw(VALUES))
    numbers = st.none() | st.integers(-1, 1001) | st.integers(-(2**31), 2**31 - 1)
    return ListReposRequest(filter=wanted, offset=draw(numbers), limit=draw(numbers))


@st.composite
def fit_requests(draw: st.DrawFn) -> ListReposRequest:
    request = ListReposRequest()
    request.filter.center = draw(st.sampled_from(Center.values()))
    for field in LONGEST:
        value = draw(VALUES)
        setattr(request.filter, field, "" if is_broken(field, value) else value)
    if draw(st.booleans()):
        request.offset = draw(st.integers(0, 2**31 - 1))
        request.limit = draw(st.integers(1, 1000))
    return request


@THOROUGH
@given(requests())
def test_a_request_is_refused_by_the_names_of_the_fields_that_break_a_rule(request: ListReposRequest) -> None:
    assert refused_fields(request) == broken_fields(request)


@THOROUGH
@given(fit_requests(), st.sampled_from([Dialect.FILTER, Dialect.FILTER_QUOTED]))
def test_a_filter_reads_back_as_what_was_asked_in_the_upstreams_order(
    request: ListReposRequest, dialect: Dialect
) -> None:
    target = request_target(read_list_message(request.SerializeToString()), dialect)
    assert received_clauses(target, dialect) == asked_clauses(request)


@THOROUGH
@given(fit_requests())
def test_plain_parameters_read_back_as_what_was_asked(request: ListReposRequest) -> None:
    target = request_target(read_list_message(request.SerializeToString()), Dialect.QUERY)
    assert sorted(received_clauses(target, Dialect.QUERY)) == sorted(asked_clauses(request))


@THOROUGH
@given(fit_requests(), st.sampled_from(Dialect))
def test_a_target_needs_no_further_encoding(request: ListReposRequest, dialect: Dialect) -> None:
    target = request_target(read_list_message(request.SerializeToString()), dialect)
    assert re.fullmatch(r"/v2/manage/[a-z-]+(\?([A-Za-z0-9._~&=-]|%[0-9A-F]{2})+)?", target)


@THOROUGH
@given(st.sampled_from(sorted(LONGEST)), HOSTILE, st.sampled_from(Dialect))
@example("name", "a|center::thirdparty", Dialect.FILTER)
@example("name", "a'|center::thirdparty", Dialect.FILTER_QUOTED)
@example("name", "a&center=thirdparty", Dialect.QUERY)
@example("name", "a%7Ccenter%3A%3Athirdparty", Dialect.FILTER)
def test_no_accepted_value_adds_a_clause(field: str, value: str, dialect: Dialect) -> None:
    request = ListReposRequest()
    setattr(request.filter, field, value)
    if not refused_fields(request):
        target = request_target(read_list_message(request.SerializeToString()), dialect)
        assert received_clauses(target, dialect) == [("center", "self"), (field, value)]
