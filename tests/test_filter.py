"""From a request to the upstream's request target: the rules of each field, and the bytes of the three dialects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.rpc import code_pb2

from gateway.core import filter as filters
from gateway.core.errors import GatewayError, Violation
from gateway.core.filter import (
    Dialect,
    Page,
    RepoQuery,
    encode_query,
    read_list_message,
    read_list_request,
    read_stream_request,
    request_target,
)
from gateway.swr.v1.repos_pb2 import (
    CENTER_SELF,
    CENTER_THIRD_PARTY,
    CENTER_UNSPECIFIED,
    ListReposRequest,
    RepoFilter,
    StreamReposRequest,
)

SDK_CASES = json.loads((Path(__file__).parent / "data" / "sdk_request_targets.json").read_text())["cases"]


def sdk_cases(dialect: Dialect) -> dict[str, tuple[dict[str, str], str]]:
    """What the SDK was asked and what it sent, as far as our requests can ask the same in this dialect."""
    cases = {case["label"]: (case["params"], case["request_target"]) for case in SDK_CASES}
    if dialect is Dialect.QUERY:
        keys = {"namespace", "name", "category", "offset", "limit"}
        return {
            label: (params, target)
            for label, (params, target) in cases.items()
            if params.keys() <= keys and ("offset" in params) == ("limit" in params) and "" not in params.values()
        }
    start = "center::" if dialect is Dialect.FILTER else "'center::"
    return {
        label: (dict(clause.split("::") for clause in params["filter"].strip("'").split("|")), target)
        for label, (params, target) in cases.items()
        if params.keys() == {"filter"} and params["filter"].startswith(start)
    }


SDK_TARGETS = {
    f"{dialect} {label}": (dialect, asked, target)
    for dialect in Dialect
    for label, (asked, target) in sdk_cases(dialect).items()
}


def with_value(field: str, value: str) -> ListReposRequest:
    request = ListReposRequest()
    setattr(request.filter, field, value)
    return request


def violations(broken: ListReposRequest | StreamReposRequest) -> list[tuple[str, str]]:
    with pytest.raises(GatewayError) as raised:
        read_list_request(broken) if isinstance(broken, ListReposRequest) else read_stream_request(broken)
    assert raised.value.cause.code == code_pb2.INVALID_ARGUMENT
    assert raised.value.cause.reason == "INVALID_REQUEST"
    return [(violation.field, violation.description) for violation in raised.value.violations]


def violated_fields(broken: ListReposRequest | StreamReposRequest) -> list[str]:
    return [field for field, description in violations(broken) if description]


@pytest.mark.parametrize("case", SDK_CASES, ids=lambda case: case["label"])
def test_a_query_is_encoded_byte_for_byte_as_the_sdk_does_it(case: dict[str, Any]) -> None:
    query = encode_query((key, str(value)) for key, value in case["params"].items())
    assert query == case["request_target"].partition("?")[2]


def test_the_keys_of_a_query_are_encoded_as_its_values_are() -> None:
    assert encode_query([("a/b c", "d/e f")]) == "a%2Fb%20c=d%2Fe%20f"


@pytest.mark.parametrize(("dialect", "asked", "target"), SDK_TARGETS.values(), ids=SDK_TARGETS)
def test_a_query_goes_out_as_the_sdk_sends_it(dialect: Dialect, asked: dict[str, str], target: str) -> None:
    page = Page(int(asked["offset"]), int(asked["limit"])) if "limit" in asked else None
    center, namespace, name, category = (asked.get(key, "") for key in ("center", "namespace", "name", "category"))
    query = RepoQuery(center or "self", namespace, name, category, page)
    assert request_target(query, dialect) == target


def test_the_captured_targets_cover_every_dialect() -> None:
    spoken = [dialect for dialect, _, _ in SDK_TARGETS.values()]
    assert {dialect: spoken.count(dialect) for dialect in Dialect} == {
        Dialect.FILTER: 54,
        Dialect.FILTER_QUOTED: 1,
        Dialect.QUERY: 34,
    }


EVERYTHING = RepoQuery("thirdparty", "group", "team/api", "linux", Page(20, 10))
EVERYTHING_ENCODED = (
    "center%3A%3Athirdparty%7Cnamespace%3A%3Agroup%7Cname%3A%3Ateam%2Fapi"
    "%7Ccategory%3A%3Alinux%7Coffset%3A%3A20%7Climit%3A%3A10"
)
NOTHING = RepoQuery("self", "", "", "", None)

TARGETS = {
    "filter, nothing": (NOTHING, Dialect.FILTER, "/v2/manage/repos?filter=center%3A%3Aself"),
    "filter, everything": (
        EVERYTHING,
        Dialect.FILTER,
        f"/v2/manage/repos?filter={EVERYTHING_ENCODED}",
    ),
    "quoted, nothing": (NOTHING, Dialect.FILTER_QUOTED, "/v2/manage/repos?filter=%27center%3A%3Aself%27"),
    "quoted, everything": (
        EVERYTHING,
        Dialect.FILTER_QUOTED,
        f"/v2/manage/repos?filter=%27{EVERYTHING_ENCODED}%27",
    ),
    "query, nothing": (NOTHING, Dialect.QUERY, "/v2/manage/repos"),
    "query, everything": (
        EVERYTHING,
        Dialect.QUERY,
        "/v2/manage/shared-repositories?category=linux&center=thirdparty&limit=10&name=team%2Fapi&namespace=group&offset=20",
    ),
    "query, a name that is the center's": (
        RepoQuery("self", "", "self", "", None),
        Dialect.QUERY,
        "/v2/manage/repos?name=self",
    ),
    "filter, the first page": (
        RepoQuery("self", "", "", "", Page(0, 1)),
        Dialect.FILTER,
        "/v2/manage/repos?filter=center%3A%3Aself%7Coffset%3A%3A0%7Climit%3A%3A1",
    ),
    "filter, what encodings disagree on": (
        RepoQuery("self", "", "a b+c%7C~d", "", None),
        Dialect.FILTER,
        "/v2/manage/repos?filter=center%3A%3Aself%7Cname%3A%3Aa%20b%2Bc%257C~d",
    ),
}


@pytest.mark.parametrize(("query", "dialect", "target"), TARGETS.values(), ids=TARGETS)
def test_a_query_has_one_target_in_each_dialect(query: RepoQuery, dialect: Dialect, target: str) -> None:
    assert request_target(query, dialect) == target


def test_the_dialects_have_the_names_that_settings_know() -> None:
    assert list(Dialect) == ["filter", "filter-quoted", "query"]


def test_an_empty_request_asks_for_all_of_ones_own() -> None:
    assert read_list_request(ListReposRequest()) == NOTHING


@pytest.mark.parametrize(
    ("center", "sent"), [(CENTER_UNSPECIFIED, "self"), (CENTER_SELF, "self"), (CENTER_THIRD_PARTY, "thirdparty")]
)
def test_a_center_is_sent_by_the_upstreams_name(center: Any, sent: str) -> None:
    assert read_list_request(ListReposRequest(filter=RepoFilter(center=center))).center == sent


# As wire: a message of Python's own does not take such a number from a careful caller.
UNKNOWN_CENTERS = {"3": b"\x08\x03", "127": b"\x08\x7f", "-1": b"\x08" + b"\xff" * 9 + b"\x01"}


@pytest.mark.parametrize("wanted", UNKNOWN_CENTERS.values(), ids=UNKNOWN_CENTERS)
def test_an_unknown_center_is_refused(wanted: bytes) -> None:
    assert violated_fields(ListReposRequest(filter=RepoFilter.FromString(wanted))) == ["filter.center"]


UNFIT_VALUES = {
    "clause separator": "a|b",
    "another clause": "a|center::thirdparty",
    "key separator": "a::b",
    "leading colon": ":a",
    "trailing colon": "a:",
    "single quote": "it's",
    "double quote": 'a"b',
    "NUL": "a\0b",
    "tab": "a\tb",
    "line break": "a\r\nb",
    "escape": "a\x1bb",
    "delete": "a\x7fb",
    "C1 control": "a\x85b",
    "leading blank": " a",
    "trailing blank": "a ",
    "nothing but a blank": " ",
    "no-break space": "\xa0a",
    "ideographic space": "a\u3000",
    "line separator at the end": "a\u2028",
}


@pytest.mark.parametrize("field", ["namespace", "name", "category"])
@pytest.mark.parametrize("value", UNFIT_VALUES.values(), ids=UNFIT_VALUES)
def test_a_value_that_the_upstream_could_misread_is_refused(field: str, value: str) -> None:
    assert set(violated_fields(with_value(field, value))) == {f"filter.{field}"}


@pytest.mark.parametrize(("field", "longest"), [("namespace", 64), ("name", 128), ("category", 128)])
@pytest.mark.parametrize("character", ["x", "镜", "🐬"])
def test_length_is_counted_in_characters(field: str, longest: int, character: str) -> None:
    assert getattr(read_list_request(with_value(field, character * longest)), field) == character * longest
    assert violated_fields(with_value(field, character * (longest + 1))) == [f"filter.{field}"]


FIT_VALUES = [
    "a:b",
    "a b",
    "a/b/c",
    "$team$api",
    "100%",
    "%7C",
    "a&b=c#d?e+f",
    "镜像仓库",
    "café",
    "🐬",
    "a\u2028b",
    "\\n",
    "0",
]


@pytest.mark.parametrize("field", ["namespace", "name", "category"])
@pytest.mark.parametrize("value", FIT_VALUES)
def test_any_other_value_is_kept_as_it_is(field: str, value: str) -> None:
    assert getattr(read_list_request(with_value(field, value)), field) == value


BROKEN_PAGES = {
    "offset alone": (0, None, ["limit"]),
    "limit alone": (None, 100, ["offset"]),
    "negative offset": (-1, 100, ["offset"]),
    "most negative offset": (-(2**31), 100, ["offset"]),
    "no limit at all": (0, 0, ["limit"]),
    "negative limit": (0, -1, ["limit"]),
    "limit over the upstream's": (0, 1001, ["limit"]),
    "negative offset alone": (-1, None, ["limit", "offset"]),
    "limit of 0 alone": (None, 0, ["offset", "limit"]),
    "both out of range": (-1, 1001, ["offset", "limit"]),
}


@pytest.mark.parametrize(("offset", "limit", "fields"), BROKEN_PAGES.values(), ids=BROKEN_PAGES)
def test_a_page_needs_both_numbers_within_their_ranges(
    offset: int | None, limit: int | None, fields: list[str]
) -> None:
    assert violated_fields(ListReposRequest(offset=offset, limit=limit)) == fields


@pytest.mark.parametrize(("offset", "limit"), [(0, 1), (0, 1000), (7, 100), (2**31 - 1, 1000)])
def test_any_page_within_the_ranges_is_asked_for(offset: int, limit: int) -> None:
    assert read_list_request(ListReposRequest(offset=offset, limit=limit)).page == Page(offset, limit)


def test_an_empty_stream_begins_with_the_first_hundred() -> None:
    assert read_stream_request(StreamReposRequest()) == RepoQuery("self", "", "", "", Page(0, 100))


def test_a_stream_asks_for_what_its_filter_says_from_where_it_is_to_resume() -> None:
    wanted = RepoFilter(center=CENTER_THIRD_PARTY, namespace="group", name="team/api", category="linux")
    query = read_stream_request(StreamReposRequest(filter=wanted, page_size=10, start_offset=20))
    assert query == EVERYTHING


@pytest.mark.parametrize(("page_size", "start_offset"), [(1, 0), (1000, 2**31 - 1), (1, None), (None, 7)])
def test_any_page_size_and_start_within_their_ranges_are_fine(page_size: int | None, start_offset: int | None) -> None:
    query = read_stream_request(StreamReposRequest(page_size=page_size, start_offset=start_offset))
    assert query.page == Page(start_offset or 0, page_size or 100)


BROKEN_STREAMS = {
    "no rows a page": (0, None, ["page_size"]),
    "negative page size": (-1, 0, ["page_size"]),
    "page size over the upstream's": (1001, 0, ["page_size"]),
    "negative start": (None, -1, ["start_offset"]),
    "both": (0, -1, ["page_size", "start_offset"]),
}


@pytest.mark.parametrize(("page_size", "start_offset", "fields"), BROKEN_STREAMS.values(), ids=BROKEN_STREAMS)
def test_a_stream_needs_its_numbers_within_their_ranges(
    page_size: int | None, start_offset: int | None, fields: list[str]
) -> None:
    assert violated_fields(StreamReposRequest(page_size=page_size, start_offset=start_offset)) == fields


def test_all_violations_of_a_list_are_told_at_once() -> None:
    wanted = RepoFilter.FromString(UNKNOWN_CENTERS["127"])
    wanted.namespace = ":|::'\0" + "x" * 64 + " "
    wanted.category = "a|b"
    with pytest.raises(GatewayError) as raised:
        read_list_request(ListReposRequest(filter=wanted, offset=-1, limit=1001))
    assert raised.value.violations == (
        Violation("filter.center", "must be one of CENTER_UNSPECIFIED, CENTER_SELF, CENTER_THIRD_PARTY"),
        Violation("filter.namespace", "must not hold `|`, which separates the upstream's clauses"),
        Violation("filter.namespace", "must not hold `::`, which separates the upstream's keys and values"),
        Violation("filter.namespace", "must not begin or end with `:`"),
        Violation("filter.namespace", "must not hold a quote"),
        Violation("filter.namespace", "must not hold a control character"),
        Violation("filter.namespace", "must not begin or end with a blank"),
        Violation("filter.namespace", "must not be longer than 64 characters"),
        Violation("filter.category", "must not hold `|`, which separates the upstream's clauses"),
        Violation("offset", "must not be negative"),
        Violation("limit", "must be from 1 to 1000"),
    )
    assert raised.value.message == f"filter.center {raised.value.violations[0].description} (and 10 more)"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (ListReposRequest(limit=1), ("offset", "must be set together with `limit`")),
        (ListReposRequest(offset=0), ("limit", "must be set together with `offset`")),
        (ListReposRequest(offset=-1, limit=1), ("offset", "must not be negative")),
        (ListReposRequest(offset=0, limit=0), ("limit", "must be from 1 to 1000")),
        (StreamReposRequest(page_size=0), ("page_size", "must be from 1 to 1000")),
        (StreamReposRequest(start_offset=-1), ("start_offset", "must not be negative")),
    ],
)
def test_a_number_out_of_its_range_is_told_what_it_must_be(
    asked: ListReposRequest | StreamReposRequest, told: tuple[str, str]
) -> None:
    assert violations(asked) == [told]


def test_all_violations_of_a_stream_are_told_at_once() -> None:
    broken = StreamReposRequest(filter=RepoFilter(namespace="a|b", name="it's"), page_size=0, start_offset=-1)
    assert violated_fields(broken) == ["filter.namespace", "filter.name", "page_size", "start_offset"]


def test_a_single_violation_is_the_message() -> None:
    with pytest.raises(GatewayError) as raised:
        read_list_request(ListReposRequest(offset=0, limit=1001))
    assert raised.value.message == "limit must be from 1 to 1000"


def test_the_memory_of_requests_is_bounded_in_number_and_size() -> None:
    remembered = filters._read_and_remember.cache_info
    for number in range(5000):
        read_list_message(ListReposRequest(filter=RepoFilter(name=f"r-{number}")).SerializeToString())
    assert remembered().currsize == 1024
    for size, is_remembered in ((2048, True), (2049, False)):
        before = remembered().misses
        assert read_list_message(unknown_field(size)) == NOTHING
        assert remembered().misses == before + is_remembered


def unknown_field(size: int) -> bytes:
    """Return a message of so many bytes that no field of ours is in."""
    content = b"x" * (size - 3)
    return b"\x7a" + bytes((len(content) & 0x7F | 0x80, len(content) >> 7)) + content
