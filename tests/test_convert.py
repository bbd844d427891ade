"""From an answer's body to a page of repositories: what is read, how leniently, and in how many steps."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.core.content_range import encode_content_range
from gateway.core.convert import MAX_ROWS, PageConverter, Steps
from gateway.core.errors import GatewayError
from gateway.core.filter import Page
from gateway.core.pages import SerializedPage
from gateway.swr.v1.repos_pb2 import ContentRange, ListReposResponse, Repo
from steps import run

SAMPLES = json.loads((Path(__file__).parent / "data" / "sample_repos.json").read_text())
PLENTY = 32 << 20
FIRST_HUNDRED = Page(0, 100)

REFERENCE_BODY = b"""[
  {
    "name": "nginx",
    "category": "linux",
    "size": 200977474,
    "is_public": false,
    "num_images": 2,
    "num_download": 0,
    "created_at": "2017-01-01T00:00:00Z",
    "updated_at": "2017-09-11T03:00:02.542841141Z",
     "url": "",
    "path": "swr.cn-north-1.myhuaweicloud.com/namespace/repository",
    "internal_path": "10.125.0.198:20202/namespace/repository",
    "domain_name": "root",
    "namespace": "root",
    "tags":[
        "latest",
        "log"
    ],
    "status":false
  }
]"""

REFERENCE_REPO = Repo(
    name="nginx",
    category="linux",
    size=200_977_474,
    num_images=2,
    created_at=Timestamp(seconds=1_483_228_800),
    updated_at=Timestamp(seconds=1_505_098_802, nanos=542_841_141),
    path="swr.cn-north-1.myhuaweicloud.com/namespace/repository",
    internal_path="10.125.0.198:20202/namespace/repository",
    domain_name="root",
    namespace="root",
    tags=["latest", "log"],
)


def drive(steps: Steps[SerializedPage]) -> tuple[ListReposResponse, int]:
    serialized, breaths = run(steps)
    return ListReposResponse.FromString(serialized.message), breaths


def whole(converter: PageConverter, body: bytes, content_range: str | None, page: Page) -> ListReposResponse:
    return drive(converter.convert(body, content_range, page))[0]


def row_by_row(converter: PageConverter, body: bytes, content_range: str | None, page: Page) -> ListReposResponse:
    rows, _ = run(converter.convert_rows(body, content_range, page))
    response = ListReposResponse.FromString(b"".join(rows.fields) + encode_content_range(rows.position))
    assert rows.page == page
    assert rows.identities == [(repo.namespace, repo.name, repo.domain_name, repo.path) for repo in response.repos]
    return response


Conversion = Callable[[PageConverter, bytes, str | None, Page], ListReposResponse]
CONVERSIONS: list[Conversion] = [whole, row_by_row]


def every_way(convert_by: Callable[[Conversion, PageConverter], Any]) -> Any:
    """Convert without a memory, with a new one, and with one that has seen the page: all must say the same."""
    outcomes = []
    for conversion in CONVERSIONS:
        remembering = PageConverter(PLENTY)
        outcomes += [convert_by(conversion, converter) for converter in (PageConverter(0), remembering, remembering)]
    assert all(outcome == outcomes[0] for outcome in outcomes)
    return outcomes[0]


def convert(body: bytes, content_range: str | None = None, page: Page = FIRST_HUNDRED) -> ListReposResponse:
    response = every_way(lambda conversion, converter: conversion(converter, body, content_range, page))
    assert isinstance(response, ListReposResponse)
    return response


def refusal(body: bytes) -> str:
    def reason(conversion: Conversion, converter: PageConverter) -> str:
        with pytest.raises(GatewayError) as raised:
            conversion(converter, body, None, FIRST_HUNDRED)
        return raised.value.cause.reason

    return str(every_way(reason))


def rows(number: int, **fields: Any) -> bytes:
    """A page whose rows differ by their name, as a server of the upstream's kind writes it."""
    page = [{"name": f"repo-{index}", "size": 1, "tags": ["latest"], **fields} for index in range(number)]
    return json.dumps(page, separators=(",", ":")).encode()


def parsed(record: dict[str, Any]) -> Repo:
    known = {name: value for name, value in record.items() if name in Repo.DESCRIPTOR.fields_by_name}
    return json_format.ParseDict(known, Repo())


def test_the_example_of_the_reference_page_is_read_field_by_field() -> None:
    assert convert(REFERENCE_BODY) == ListReposResponse(repos=[REFERENCE_REPO])


@pytest.mark.parametrize("record", SAMPLES, ids=lambda record: record["name"][:30])
def test_a_sample_is_what_protobuf_makes_of_it(record: dict[str, Any]) -> None:
    assert convert(json.dumps([record]).encode()).repos == [parsed(record)]


def test_rows_keep_the_upstreams_order() -> None:
    assert convert(json.dumps(SAMPLES).encode()).repos == [parsed(record) for record in SAMPLES]


ROWS: dict[str, tuple[bytes, Repo]] = {
    "nothing": (b"{}", Repo()),
    "all null": (json.dumps(dict.fromkeys(Repo.DESCRIPTOR.fields_by_name)).encode(), Repo()),
    "all empty": (b'{"name":"","size":0,"is_public":false,"tags":[],"created_at":"","status":false}', Repo()),
    "an escaped text": (rb'{"name":"\u955c\ud83d\ude00\n\/"}', Repo(name="镜😀\n/")),
    "an escaped key": (rb'{"\u006eame":"a"}', Repo(name="a")),
    "a text with NUL": (rb'{"name":"a\u0000b"}', Repo(name="a\0b")),
    "blanks everywhere": (b' { "name" :\r\n\t"a" , "tags" : [ "b" ] } ', Repo(name="a", tags=["b"])),
    "the largest integer": (b'{"size":9223372036854775807}', Repo(size=2**63 - 1)),
    "the smallest integer": (b'{"size":-9223372036854775808}', Repo(size=-(2**63))),
    "no float's integer": (b'{"num_download":9007199254740993}', Repo(num_download=2**53 + 1)),
    "tags that repeat": (b'{"tags":["a","a",""]}', Repo(tags=["a", "a", ""])),
    "an integer in a string": (b'{"size":"12","num_images":"-3"}', Repo(size=12, num_images=-3)),
    "the largest in a string": (b'{"num_download":"9223372036854775807"}', Repo(num_download=2**63 - 1)),
    "the smallest in a string": (b'{"num_download":"-9223372036854775808"}', Repo(num_download=-(2**63))),
    "whole numbers with a point": (b'{"size":200977474.0,"num_images":-2.00}', Repo(size=200_977_474, num_images=-2)),
    "whole numbers with an exponent": (
        b'{"size":1e3,"num_images":250E-1,"num_download":1E+0}',
        Repo(size=1000, num_images=25, num_download=1),
    ),
    "whole numbers with an exponent in strings": (b'{"size":"1e3","num_images":"7.0"}', Repo(size=1000, num_images=7)),
    "a whole number with point and exponent": (b'{"size":0.1e1,"num_images":1.25e2}', Repo(size=1, num_images=125)),
    "no float's integer with a point": (b'{"size":9007199254740993.0}', Repo(size=2**53 + 1)),
    "the largest with a point and an exponent": (b'{"size":9.223372036854775807e18}', Repo(size=2**63 - 1)),
    "the smallest with a point": (b'{"size":-9223372036854775808.0}', Repo(size=-(2**63))),
    "zeros of all kinds": (b'{"size":-0.0,"num_images":0e999999999,"num_download":-0}', Repo()),
    "a whole number of thousands of zeros": (b'{"size":7%b.%be-5000}' % (b"0" * 5000, b"0" * 5000), Repo(size=7)),
    "a number in an escaped string": (rb'{"size":"\u0031\u0032"}', Repo(size=12)),
    "bools in strings": (b'{"is_public":"true","status":"false"}', Repo(is_public=True)),
    "strings beside all other fields": (
        b'{"size":"1","is_public":true,"num_images":null,"status":null,"tags":null,"name":"a","url":null}',
        Repo(size=1, is_public=True, name="a"),
    ),
    "the last of two keys": (b'{"name":"a","name":"b"}', Repo(name="b")),
    "the last of two keys, null": (b'{"name":"a","name":null}', Repo()),
    "the last of two keys, the first malformed": (b'{"name":7,"name":"b"}', Repo(name="b")),
    "a time elsewhere": (b'{"created_at":"1970-01-01T08:00:00+08:00"}', Repo(created_at=Timestamp())),
    "a time that is none": (b'{"created_at":"yesterday","updated_at":""}', Repo()),
    "a time behind the last": (b'{"created_at":"9999-12-31T23:59:59-00:01"}', Repo()),
    "a time of many digits": (
        b'{"created_at":"1970-01-01T00:00:00.%bZ"}' % (b"1" * 43),
        Repo(created_at=Timestamp(nanos=111_111_111)),
    ),
    "a time of thousands of digits": (b'{"name":"a","created_at":"%b"}' % (b"1" * 5000), Repo(name="a")),
    "one time of two": (
        b'{"created_at":"-","updated_at":"1970-01-01T00:00:01Z"}',
        Repo(updated_at=Timestamp(seconds=1)),
    ),
}


@pytest.mark.parametrize(("row", "repo"), ROWS.values(), ids=ROWS)
def test_a_row_is_read(row: bytes, repo: Repo) -> None:
    assert convert(b"[%b]" % row) == ListReposResponse(repos=[repo])


@pytest.mark.parametrize(("row", "repo"), ROWS.values(), ids=ROWS)
def test_a_row_is_read_beside_others(row: bytes, repo: Repo) -> None:
    body = b'[{"name":"before","size":1},%b,{"name":"behind","size":"2"}]' % row
    assert convert(body) == ListReposResponse(repos=[Repo(name="before", size=1), repo, Repo(name="behind", size=2)])


UNKNOWN_VALUES = {
    "a text": b'"text"',
    "null": b"null",
    "an object": b'{"name":"inner","size":"x"}',
    "a list of lists": b"[[1.5,true],[]]",
    "a nest": b"[" * 500 + b"]" * 500,
    "a number that no float holds": b"1e999",
    "an integer of 5000 digits": b"9" * 5000,
    "a text that is not UTF-8": b'"\xff"',
}


@pytest.mark.parametrize("size", [b"1", b'"1"'], ids=["a row as documented", "a row with a number in a string"])
@pytest.mark.parametrize("value", UNKNOWN_VALUES.values(), ids=UNKNOWN_VALUES)
def test_an_unknown_field_is_ignored_whatever_it_holds(value: bytes, size: bytes) -> None:
    assert convert(b'[{"x":%b,"size":%b}]' % (value, size)) == ListReposResponse(repos=[Repo(size=1)])


@pytest.mark.parametrize("row", [b'{"name":"a","errorCode":"x"}', b'{"errorCode":null}', b'{"errorCode":""}'])
def test_a_row_that_has_a_name_or_no_code_is_no_error(row: bytes) -> None:
    assert len(convert(b"[%b]" % row).repos) == 1


# Too deep for any Python: the latest ones count the bytes of the stack in place of calls.
DEEP = 1_000_000

MALFORMED_BODIES = {
    "empty": b"",
    "blank": b" \n",
    "HTML": b"<html><body>Welcome</body></html>",
    "an object": b"{}",
    "an error": b'{"errorCode":"SVCSTG.SWR.4001035","errorMessage":"Invalid filter"}',
    "an error in an array": b'[{"errorCode":"SVCSTG.SWR.4001035","errorMessage":"Invalid filter","detail":""}]',
    "an error of the API gateway's in an array": b'[{"error_code":"APIGW.0301","error_msg":"Incorrect IAM token"}]',
    "an error behind a repository": b'[{"name":"a"},{"name":"","errorCode":"SVCSTG.SWR.5000000"}]',
    "an error of a code that no number is": b'[{"errorCode":1e999}]',
    "an error beside a number in a string": b'[{"size":"7"},{"errorCode":"SVCSTG.SWR.5000000"}]',
    "a page in an object": b'{"repos":[]}',
    "a text": b'"[]"',
    "a number": b"0",
    "a bool": b"false",
    "null with something behind it": b"null[]",
    "two arrays": b"[][]",
    "a NUL behind it": b"[]\0",
    "cut off": b'[{"name":"a"}',
    "cut off in a text": b'[{"name":"a',
    "a comma too many": b'[{"name":"a"},]',
    "a comma too few": b"[{}{}]",
    "quotes of another kind": b"[{'name':'a'}]",
    "a comment": b"[/* none */]",
    "a BOM": b"\xef\xbb\xbf[]",
    "UTF-16": "[]".encode("utf-16"),
    "a row of null": b"[null]",
    "a row of a list": b"[[]]",
    "a row of text": b'["nginx"]',
    "a row of a number": b"[7]",
    "a malformed row among others": b'[{"name":"a"},{"name":7},{"name":"c"}]',
    "a bottomless nest": b"[" * DEEP,
    "a deep nest": b"[" * DEEP + b"]" * DEEP,
    "a deep nest in a row": b'[{"x":' + b"[" * DEEP + b"]" * DEEP + b"}]",
    "a deep nest of objects": b'[{"x":' * DEEP + b"1" + b"}]" * DEEP,
    "the last of two keys": b'[{"name":"a","name":7}]',
    "a raw control character": b'[{"name":"a\nb"}]',
    "an escape that is none": rb'[{"name":"\q"}]',
    "NaN in an unknown field": b'[{"x":NaN}]',
    "Infinity in an unknown field": b'[{"x":-Infinity}]',
    "a leading zero in an unknown field": b'[{"x":01}]',
}


@pytest.mark.parametrize("body", MALFORMED_BODIES.values(), ids=MALFORMED_BODIES)
def test_what_is_no_list_of_repositories_is_refused(body: bytes) -> None:
    assert refusal(body) == "UPSTREAM_MALFORMED_RESPONSE"


TEXTS = [
    *("name", "category", "description", "created_at", "updated_at", "url"),
    *("path", "internal_path", "domain_name", "namespace", "logo"),
]
MALFORMED_TEXTS = ["7", "true", "[]", '["a"]', "{}", "NaN"]
MALFORMED_INTEGERS = [
    *(
        "1.5",
        "true",
        "[]",
        "{}",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "1e-1",
        "9007199254740993.5",
        "1.",
        "1e",
        ".5",
    ),
    *(
        "9.3e18",
        "9223372036854775808.0",
        "-9.223372036854775809e18",
        "1e19",
        "1e999999999",
        "1e-999999999",
        f"1e{'9' * 5000}",
    ),
    *("9223372036854775808", "-9223372036854775809", "9" * 5000),
    *(
        '""',
        '" 1"',
        '"1 "',
        '"+1"',
        '"--1"',
        '"1.5"',
        '"1."',
        '".5"',
        '"1e"',
        '"1 e2"',
        '"0x1"',
        '"1_0"',
        '"१"',
        '"one"',
        '"true"',
        '"NaN"',
    ),
    *('"9223372036854775808"', '"-9223372036854775809"', f'"{"9" * 5000}"'),
]
MALFORMED_BOOLS = ["0", "1", '""', '"True"', '"FALSE"', '"yes"', '"1"', '" true"', "[]", "{}"]
MALFORMED_TAGS = ['""', '"latest"', "7", "true", "{}", "[null]", "[7]", '["a",["b"]]', '[{"tag":"a"}]']
MALFORMED_VALUES = [
    *((field, value) for field in TEXTS for value in MALFORMED_TEXTS),
    *((field, value) for field in ("size", "num_images", "num_download") for value in MALFORMED_INTEGERS),
    *((field, value) for field in ("is_public", "status") for value in MALFORMED_BOOLS),
    *(("tags", value) for value in MALFORMED_TAGS),
]


@pytest.mark.parametrize(("field", "value"), MALFORMED_VALUES, ids=lambda part: part[:24])
def test_a_value_of_any_other_type_is_refused(field: str, value: str) -> None:
    assert refusal(f'[{{"{field}":{value}}}]'.encode()) == "UPSTREAM_MALFORMED_RESPONSE"


HALF_PAIRS = {
    r"\ud800": "\ufffd",
    r"\udfff": "\ufffd",
    r"\uD83D and some text": "\ufffd and some text",
    r"\udc00\ud800": "\ufffd\ufffd",
    r"\ud800\ud800\udc00": "\ufffd\U00010000",
    r"\ud83d\uDE00\ude00": "😀\ufffd",
    r"\ud83dA": "\ufffdA",
    r"\ud83d\n": "\ufffd\n",
    r"\\ud800 and \ud800": r"\ud800 and " + "\ufffd",
    r"\\\ud800": "\\\ufffd",
    r"\\ud83d\udc00": r"\ud83d" + "\ufffd",
}
NO_UTF_8 = [b"\xff", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"a\x80 and some text"]


@pytest.mark.parametrize(("escaped", "text"), HALF_PAIRS.items(), ids=HALF_PAIRS)
@pytest.mark.parametrize("beside", ["", ',"size":"0"', ',"x":"\\udbff"', ',"size":1e0,"\\ud800":[1e999]'])
def test_half_a_surrogate_pair_becomes_a_replacement_character(escaped: str, text: str, beside: str) -> None:
    body = f'[{{"name":"{escaped}","tags":["a","{escaped}"],"namespace":"{escaped}"{beside}}},{{"name":"next"}}]'
    cut, following = convert(body.encode()).repos
    assert (cut.name, cut.namespace, [*cut.tags], following.name) == (text, text, ["a", text], "next")


def test_half_a_pair_in_a_page_changes_nothing_of_its_total() -> None:
    body = rb'[{"name":"cut \ud83d","total_range":"2e1"}]'
    assert convert(body).content_range == ContentRange(count=1, total=20)


@pytest.mark.parametrize("text", NO_UTF_8)
@pytest.mark.parametrize("row", [b'{"name":"%b"}', b'{"tags":["%b"]}', b'{"size":"1","logo":"%b"}'])
def test_text_that_is_not_utf_8_is_refused(row: bytes, text: bytes) -> None:
    assert refusal(b"[%b]" % (row % text)) == "UPSTREAM_MALFORMED_RESPONSE"


FAULTS = {
    "a type": (b'[{},{"size":true}]', "row 1, field size: not an integer"),
    "a text for a number": (b'[{"num_images":"many"}]', "row 0, field num_images: not an integer"),
    "a fraction": (b'[{"num_download":1.5}]', "row 0, field num_download: not a whole number of 64 bits"),
    "too large": (b'[{"size":1e19}]', "row 0, field size: not a whole number of 64 bits"),
    "a text": (b'[{"size":"1"},{},{"namespace":7}]', "row 2, field namespace: Expected `str | null`, got `int`"),
    "a bool": (b'[{"is_public":"yes"}]', "row 0, field is_public: not a bool"),
    "a tag": (b'[{"tags":["a",7]}]', "row 0, field tags: Expected `str`, got `int` - at `$[1]`"),
    "a time": (b'[{"created_at":7}]', "row 0, field created_at: Expected `str | null`, got `int`"),
    "no UTF-8": (
        b'[{},{"logo":"a\xff"}]',
        "row 1, field logo: 'utf-8' codec can't decode byte 0xff in position 1: invalid start byte",
    ),
    "a row": (b'[{},{},{},"nginx"]', "row 3: Expected `object`, got `str`"),
    "no list": (b'{"repos":[]}', "Expected `array | null`, got `object`"),
    "no JSON": (b"<html>", "JSON is malformed: invalid character (byte 0)"),
    "cut off": (b'[{"name":"a"', "Input data was truncated"),
}


def detail(body: bytes, page: Page = FIRST_HUNDRED) -> str:
    def told(conversion: Conversion, converter: PageConverter) -> str:
        with pytest.raises(GatewayError) as raised:
            conversion(converter, body, None, page)
        assert raised.value.message == raised.value.cause.message
        return raised.value.detail

    return str(every_way(told))


@pytest.mark.parametrize(("body", "fault"), FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_with_a_page_is_told_by_row_and_field(body: bytes, fault: str) -> None:
    assert detail(body) == f"page at offset 0: {fault}"


def test_a_row_is_named_by_its_place_on_the_page_wherever_it_is_converted() -> None:
    page = json.loads(rows(1000))
    page[700]["size"] = "large"
    fault = "page at offset 300: row 700, field size: not an integer"
    assert detail(json.dumps(page).encode(), Page(300, 1000)) == fault
    converter = PageConverter(PLENTY)
    drive(converter.convert(rows(600), None, None))
    with pytest.raises(GatewayError) as raised:
        drive(converter.convert(json.dumps(page, separators=(",", ":")).encode(), None, None))
    assert raised.value.detail == "row 700, field size: not an integer"


@pytest.mark.parametrize("body", [b"null", b" null\r\n", b"[]", b" [ ]\n"])
def test_an_empty_list_and_null_alone_are_no_repositories(body: bytes) -> None:
    assert convert(body) == ListReposResponse()


def test_a_page_of_10000_rows_is_the_largest() -> None:
    assert len(convert(b"[%b]" % b",".join([b"{}"] * MAX_ROWS)).repos) == MAX_ROWS == 10_000
    assert refusal(b"[%b]" % b",".join([b"{}"] * (MAX_ROWS + 1))) == "UPSTREAM_RESPONSE_TOO_LARGE"


POSITIONS: dict[str, tuple[bytes, str | None, Page, ContentRange | None]] = {
    "header": (b"[{}]", "20-1/21", Page(20, 10), ContentRange(offset=20, count=1, total=21)),
    "header of an empty list": (b"[]", "40-0/21", Page(40, 10), ContentRange(offset=40, total=21)),
    "header of null": (b"null", "0-0/0", Page(0, 10), ContentRange()),
    "header with a last index": (b"[{},{}]", "20-21/40", Page(20, 2), ContentRange(offset=20, count=2, total=40)),
    "header before rows": (b'[{"total_range":7}]', "0-1/8", Page(0, 10), ContentRange(count=1, total=8)),
    "rows": (b'[{"total_range":7},{}]', None, Page(5, 10), ContentRange(offset=5, count=2, total=7)),
    "rows where the header is unreadable": (b'[{"total_range":7}]', "*", Page(0, 1), ContentRange(count=1, total=7)),
    "first row that tells": (
        b'[{"total_range":null},{},{"total_range":3}]',
        None,
        Page(0, 9),
        ContentRange(count=3, total=3),
    ),
    "rows that cannot be right": (b'[{"total_range":0},{}]', None, Page(0, 9), None),
    "rows that cannot be right here": (b'[{"total_range":7},{}]', None, Page(6, 9), None),
    "number in a string": (b'[{"total_range":"7"}]', None, Page(0, 10), ContentRange(count=1, total=7)),
    "number with a point": (
        b'[{"total_range":9007199254740993.0}]',
        None,
        Page(0, 9),
        ContentRange(count=1, total=2**53 + 1),
    ),
    "number with an exponent": (b'[{"total_range":1e3}]', None, Page(0, 9), ContentRange(count=1, total=1000)),
    "largest number": (b'[{"total_range":%d}]' % (2**63 - 1), "", Page(0, 1), ContentRange(count=1, total=2**63 - 1)),
    "nowhere": (b"[{}]", None, Page(0, 10), None),
    "unreadable and nowhere else": (b"[{}]", "0-1/*", Page(0, 10), None),
    "negative number": (b'[{"total_range":-1}]', None, Page(0, 10), None),
    "number over 64 bits": (b'[{"total_range":9223372036854775808}]', None, Page(0, 10), None),
    "number that no float holds": (b'[{"total_range":1e999}]', None, Page(0, 10), None),
    "no number": (b'[{"total_range":"many"}]', None, Page(0, 10), None),
}


@pytest.mark.parametrize(("body", "header", "page", "position"), POSITIONS.values(), ids=POSITIONS)
def test_a_page_lies_where_header_or_rows_say(
    body: bytes, header: str | None, page: Page, position: ContentRange | None
) -> None:
    response = convert(body, header, page)
    assert (response.content_range if response.HasField("content_range") else None) == position


@pytest.mark.parametrize(("header", "position"), [("0-1/1", ContentRange(count=1, total=1)), ("*", None), (None, None)])
def test_only_the_header_counts_where_no_page_was_asked_for(header: str | None, position: ContentRange | None) -> None:
    response, _ = drive(PageConverter(0).convert(b'[{"total_range":7}]', header, None))
    assert (response.content_range if response.HasField("content_range") else None) == position


@pytest.mark.parametrize("memo_bytes", [0, PLENTY], ids=["no memory", "a memory"])
@pytest.mark.parametrize("size", [1, "1"], ids=["rows as documented", "rows with a number in a string"])
def test_a_large_page_is_converted_in_steps_and_a_small_one_at_once(memo_bytes: int, size: int | str) -> None:
    for number, least, most in ((0, 0, 0), (1, 0, 0), (100, 0, 0), (1000, 4, 10), (5000, 24, 50)):
        body = rows(number, size=size)
        _, breaths = run(PageConverter(memo_bytes).convert(body, None, FIRST_HUNDRED))
        assert least <= breaths <= most
        _, breaths = run(PageConverter(memo_bytes).convert_rows(body, None, FIRST_HUNDRED))
        assert least <= breaths <= most


def test_large_rows_are_converted_in_more_steps() -> None:
    body = rows(20, description="x" * 64 * 1024)
    response, breaths = drive(PageConverter(PLENTY).convert(body, None, None))
    assert len(response.repos) == 20
    assert breaths >= 9


@pytest.mark.parametrize("memo_bytes", [1, 2, 1000, 100_000, PLENTY])
def test_a_memory_of_any_size_says_the_same(memo_bytes: int) -> None:
    converter = PageConverter(memo_bytes)
    for number in (300, 500, 300, 1, 500):
        body = rows(number, total_range=number)
        expected, _ = drive(PageConverter(0).convert(body, None, Page(0, 1000)))
        assert drive(converter.convert(body, None, Page(0, 1000)))[0] == expected


def remembered(first: bytes, second: bytes) -> tuple[ListReposResponse, int]:
    """Convert two pages one after the other; return what the second is and how many breaths it took."""
    converter = PageConverter(PLENTY)
    drive(converter.convert(first, None, FIRST_HUNDRED))
    return drive(converter.convert(second, None, FIRST_HUNDRED))


@pytest.mark.parametrize("memo_bytes", [0, 100_000, PLENTY], ids=["no memory", "a memory too small for it", "a memory"])
def test_a_large_body_comes_as_a_bytearray(memo_bytes: int) -> None:
    body = rows(5000)
    converter = PageConverter(memo_bytes)
    for _ in range(2):
        assert drive(converter.convert(bytearray(body), None, FIRST_HUNDRED))[0] == convert(body)
    assert run(converter.convert_rows(bytearray(body), None, FIRST_HUNDRED)) == run(
        converter.convert_rows(body, None, FIRST_HUNDRED)
    )


def test_a_page_is_remembered() -> None:
    body = rows(5000)
    assert remembered(body, body) == (convert(body), 0)


def test_a_page_of_rows_too_large_to_be_remembered_is_remembered_as_a_whole() -> None:
    body = rows(250, description="x" * 9000)
    assert remembered(body, body) == (convert(body), 0)
    assert remembered(body[:-1] + b" ]", body)[1] > 0


def test_rows_are_remembered_where_a_few_have_changed() -> None:
    first, second = rows(1000), rows(1000).replace(b'"repo-7","size":1', b'"repo-7","size":2')
    assert remembered(first, second) == (convert(second), 0)
    assert convert(second).repos[7].size == 2


def test_rows_are_remembered_where_one_is_new() -> None:
    first, second = rows(900), b'[{"name":"new"},' + rows(900)[1:]
    assert remembered(first, second) == (convert(second), 0)


def test_rows_are_remembered_where_the_number_of_matches_has_changed() -> None:
    first, second = rows(1000, total_range=1000), rows(1000, total_range=1001)
    assert remembered(first, second) == (convert(second), 0)


def test_a_changed_number_of_matches_is_told_all_the_same() -> None:
    converter = PageConverter(PLENTY)
    totals = [
        drive(converter.convert(rows(3, total_range=total), None, FIRST_HUNDRED))[0].content_range.total
        for total in (3, 4, 3)
    ]
    assert totals == [3, 4, 3]


def test_a_row_that_only_looks_like_another_is_not_taken_for_it() -> None:
    first = b'[{"name":"a","total_range":7}]'
    second = b'[{"name":"a","x":{"name":"b","total_range":7},"name":"c","total_range":7}]'
    assert remembered(first, second)[0].repos == [Repo(name="c")]
    assert remembered(second, first)[0].repos == [Repo(name="a")]


def test_a_malformed_row_is_refused_beside_remembered_ones() -> None:
    converter = PageConverter(PLENTY)
    drive(converter.convert(b'[{"name":"a"}]', None, None))
    with pytest.raises(GatewayError):
        drive(converter.convert(b'[{"name":"a"},{"name":7}]', None, None))
    assert drive(converter.convert(b'[{"name":"a"}]', None, None))[0].repos == [Repo(name="a")]


@pytest.mark.parametrize("value", UNKNOWN_VALUES.values(), ids=UNKNOWN_VALUES)
def test_what_a_row_means_does_not_hang_on_its_neighbours_or_the_memory(value: bytes) -> None:
    first, second = b'[{"name":"a","x":%b}]' % value, b'[{"name":"a","x":%b},{"size":"1"}]' % value
    expected = ListReposResponse(repos=[Repo(name="a"), Repo(size=1)])
    assert remembered(first, second)[0] == expected
    assert drive(PageConverter(0).convert(second, None, None))[0] == expected


def test_a_long_text_in_place_of_a_time_is_not_kept() -> None:
    tracemalloc.start()
    try:
        drive(PageConverter(0).convert(rows(1, created_at="x" * 1_000_000), None, None))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 500_000


def test_a_remembered_page_lies_where_its_own_header_says() -> None:
    converter = PageConverter(PLENTY)
    offsets = [
        drive(converter.convert(b"[{}]", header, FIRST_HUNDRED))[0].content_range.offset
        for header in ("1-1/9", "5-1/9")
    ]
    assert offsets == [1, 5]
