"""What holds for every body: it is a page or a failure of the upstream, and the memory changes nothing of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from google.protobuf import json_format
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.content_range import encode_content_range
from gateway.core.convert import PageConverter
from gateway.core.errors import GatewayError
from gateway.core.filter import Page
from gateway.swr.v1.repos_pb2 import ContentRange, ListReposResponse, Repo
from steps import run

PLENTY = 32 << 20
FIRST_HUNDRED = Page(0, 100)
REASONS = {"UPSTREAM_MALFORMED_RESPONSE", "UPSTREAM_RESPONSE_TOO_LARGE"}


def whole(converter: PageConverter, body: bytes, header: str | None) -> ListReposResponse:
    return ListReposResponse.FromString(run(converter.convert(body, header, FIRST_HUNDRED))[0].message)


def row_by_row(converter: PageConverter, body: bytes, header: str | None) -> ListReposResponse:
    rows, _ = run(converter.convert_rows(body, header, FIRST_HUNDRED))
    response = ListReposResponse.FromString(b"".join(rows.fields) + encode_content_range(rows.position))
    assert rows.identities == [(repo.namespace, repo.name, repo.domain_name, repo.path) for repo in response.repos]
    assert len(rows.fields) == len(response.repos)
    return response


Conversion = Callable[[PageConverter, bytes, str | None], ListReposResponse]
CONVERSIONS: list[Conversion] = [whole, row_by_row]


def outcome(
    conversion: Conversion, converter: PageConverter, body: bytes, header: str | None = None
) -> ListReposResponse | None:
    """Return the page, None for a failure of the upstream; raise for anything else."""
    try:
        return conversion(converter, body, header)
    except GatewayError as error:
        if error.cause.reason in REASONS:
            return None
        raise


def every_way(body: bytes, header: str | None = None) -> ListReposResponse | None:
    """Convert without a memory, with a new one, and with one that has seen the page: all must say the same."""
    outcomes = []
    for conversion in CONVERSIONS:
        remembering = PageConverter(PLENTY)
        converters = (PageConverter(0), remembering, remembering)
        outcomes += [outcome(conversion, converter, body, header) for converter in converters]
    assert all(other == outcomes[0] for other in outcomes)
    return outcomes[0]


UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INT64 = st.integers(-(2**63), 2**63 - 1)


@st.composite
def times(draw: st.DrawFn) -> str:
    time = draw(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31))).isoformat(timespec="seconds")  # noqa: DTZ001
    fraction = draw(st.just("") | st.from_regex(r"\.[0-9]{1,9}", fullmatch=True))
    return time + fraction + draw(st.sampled_from(["Z", "+08:00", "-03:30"]))


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("name", "category", "description", "url", "path", "internal_path"), UNICODE),
    **dict.fromkeys(("domain_name", "namespace", "logo"), UNICODE),
    **dict.fromkeys(("size", "num_images", "num_download"), INT64),
    **dict.fromkeys(("is_public", "status"), st.booleans()),
    **dict.fromkeys(("created_at", "updated_at"), times()),
    "tags": st.lists(UNICODE, max_size=5),
}
VALUES = st.recursive(
    st.none() | st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False) | UNICODE | times(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FIELDS, "total_range", "x"]), inner),
    max_leaves=20,
)
KNOWN = st.fixed_dictionaries({}, optional={field: st.none() | values for field, values in FIELDS.items()})
# Hypothesis draws from the texts of the code under test too, where these two make an error of a row.
TELLING = {*FIELDS, "errorCode", "error_code"}
UNKNOWN = st.dictionaries(UNICODE.filter(lambda key: key not in TELLING), VALUES, max_size=3)
ROWS = st.builds(lambda unknown, known: {**unknown, **known}, UNKNOWN, KNOWN)
PAGES = st.lists(ROWS, max_size=4)


def encoded(page: Any, **options: Any) -> bytes:
    return json.dumps(page, **options).encode()


def parsed(page: list[dict[str, Any]]) -> list[Repo]:
    known = [{field: value for field, value in row.items() if field in FIELDS} for row in page]
    return [json_format.ParseDict(row, Repo()) for row in known]


def test_the_rows_drawn_here_have_all_fields() -> None:
    assert set(FIELDS) == set(Repo.DESCRIPTOR.fields_by_name)


@given(PAGES, st.sampled_from([{}, {"ensure_ascii": False}, {"indent": 1}, {"separators": (",", ":")}]))
def test_a_valid_page_is_what_protobuf_makes_of_it(page: list[dict[str, Any]], options: dict[str, Any]) -> None:
    response = every_way(encoded(page, **options), f"0-{len(page)}/1000")
    position = ContentRange(count=len(page), total=1000)
    assert response == ListReposResponse(repos=parsed(page), content_range=position)


@given(PAGES)
def test_numbers_and_bools_in_strings_are_what_they_hold(page: list[dict[str, Any]]) -> None:
    quoted = [
        {
            field: json.dumps(value) if field in FIELDS and isinstance(value, int) else value
            for field, value in row.items()
        }
        for row in page
    ]
    response = every_way(encoded(page))
    assert response is not None
    assert every_way(encoded(quoted)) == response


@st.composite
def spelled_integers(draw: st.DrawFn) -> tuple[int, str]:
    """An int64, and a JSON number that it is."""
    number = draw(INT64)
    digits, shift = str(abs(number)), draw(st.integers(0, 30))
    padded = digits.rjust(shift + 1, "0")
    whole, fraction = (padded[:-shift], padded[-shift:]) if shift else (padded, draw(st.sampled_from(["", "0", "000"])))
    exponent = f"e{draw(st.sampled_from(['', '+']))}{shift}" if shift else draw(st.sampled_from(["", "e0", "E-0"]))
    return number, f"{'-' if number < 0 else ''}{whole}{'.' if fraction else ''}{fraction}{exponent}"


@given(spelled_integers(), st.sampled_from(["%s", '"%s"']))
def test_an_integer_is_exact_however_it_is_spelled(spelled: tuple[int, str], form: str) -> None:
    number, text = spelled
    assert every_way(f'[{{"size":{form % text}}}]'.encode()) == ListReposResponse(repos=[Repo(size=number)])


@given(st.text(st.characters(codec=None, categories=["Cs", "Lu", "So"]), max_size=12))
def test_a_text_with_halves_of_pairs_is_what_utf_16_makes_of_it(text: str) -> None:
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert every_way(encoded([{"name": text, "tags": [text], "x": text}])) == ListReposResponse(
        repos=[Repo(name=whole, tags=[whole])]
    )


@given(st.binary(max_size=200) | st.text('[]{}",:null0123 \\', max_size=60).map(str.encode))
def test_any_bytes_are_a_page_or_a_failure_of_the_upstream(body: bytes) -> None:
    every_way(body)


@given(VALUES)
def test_any_json_is_a_page_or_a_failure_of_the_upstream(value: Any) -> None:
    response = every_way(encoded(value))
    is_page = value is None or (isinstance(value, list) and all(isinstance(row, dict) for row in value))
    assert is_page or response is None
    assert response is None or len(response.repos) == len(value or [])


@st.composite
def mutated_pages(draw: st.DrawFn) -> bytes:
    body = encoded(draw(PAGES.filter(bool)), ensure_ascii=draw(st.booleans()))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(start + 5, len(body))))
        inserted = draw(
            st.sampled_from([b"", b'"', b"\\", b"\\ud800", b"\xff", b"\0", b"1e999", b"-", b"9" * 30, b"null", b"NaN"])
            | st.sampled_from([b"[", b"]", b"{", b"}", b",", b":", b'"name":7,', b',"total_range":7', b"[" * 2000])
            | st.binary(max_size=3)
        )
        body = body[:start] + inserted + body[end:]
    return body


@given(mutated_pages())
@example(b'[{"name":"\\ud800"}]')
@example(b'[{"size":"9","x":1e999}]')
@example(b'[{"total_range":7},7]')
def test_a_mutated_page_is_a_page_or_a_failure_of_the_upstream(body: bytes) -> None:
    response = every_way(body)
    if response is not None:
        assert len(response.repos) == len(json.loads(body.decode(errors="replace")) or [])


# Few rows, so that pages share them: plain, lenient, malformed, alike but for the number of matches.
SHARED_ROWS = [
    *(b'{"name":"%b","total_range":%d}' % (name, total) for name in (b"a", b"b") for total in (7, 8)),
    *(b'{"name":"%b"}' % name for name in (b"a", b"b")),
    b'{"name":"a","total_range":7,"size":1}',
    b'{"size":"1"}',
    b'{"size":"1","total_range":7}',
    b'{"size":"one","total_range":7}',
    b'{"x":{"name":"a","total_range":7}}',
    b'{"name":"%b"}' % (b"x" * 9000),
    b"7",
]
SHARED_PAGES = st.lists(st.sampled_from(SHARED_ROWS), max_size=8).map(lambda rows: b"[%b]" % b",".join(rows))


@given(
    st.sampled_from([1, 2000, 5000, 20_000, PLENTY]), st.lists(st.tuples(SHARED_PAGES, st.sampled_from(CONVERSIONS)))
)
def test_no_history_changes_what_a_page_says(memo_bytes: int, history: list[tuple[bytes, Conversion]]) -> None:
    remembering = PageConverter(memo_bytes)
    for body, conversion in history:
        assert outcome(conversion, remembering, body) == outcome(whole, PageConverter(0), body)
