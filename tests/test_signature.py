"""Signatures by access key: what the official signer makes of requests, and what holds for every request."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.core.signature import Signature, sign, write_date

CASES = json.loads((Path(__file__).parent / "data" / "aksk_vectors.json").read_text("utf-8"))["cases"]
DATE = {"X-Sdk-Date": "20260115T083000Z"}


def signature_of(case: dict[str, Any]) -> Signature:
    """Sign the request of a case as it is sent, but for the one header that HTTP cannot hold as text."""
    sent = {**case["expected"]["headers_to_send"], **case["headers"]}
    del sent["Authorization"]
    body = (case["body"] or "").encode()
    return sign(case["sk"], case["method"], case["expected"]["request_target"], sent, body)


def test_there_are_22_cases() -> None:
    assert len({case["name"] for case in CASES}) == 22


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_signature_is_that_of_the_official_signer(case: dict[str, Any]) -> None:
    signature, expected = signature_of(case), case["expected"]
    assert signature.canonical_request == expected["canonical_request"]
    assert signature.string_to_sign == expected["string_to_sign"]
    assert signature.value == expected["signature"]
    assert signature.authorization(case["ak"]) == expected["authorization"]


@pytest.fixture
def _in_shanghai(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Shanghai")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_in_shanghai")
@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        pytest.param(0.0, "19700101T000000Z", id="the beginning"),
        pytest.param(1573789015.0, "20191115T033655Z", id="the guide's"),
        pytest.param(1573789015.999, "20191115T033655Z", id="a part of a second is cut"),
        pytest.param(1709164800.0, "20240229T000000Z", id="leap day"),
        pytest.param(4102444799.0, "20991231T235959Z", id="far away"),
    ],
)
def test_a_date_is_written_in_utc(seconds: float, text: str) -> None:
    assert write_date(seconds) == text


class Asked(NamedTuple):
    """A request: path segments and query pairs as they are meant, before they are encoded."""

    key: str = "secret"
    method: str = "GET"
    path: tuple[str, ...] = ("v2", "manage", "repos")
    query: tuple[tuple[str, str], ...] = (("filter", "center::self"),)
    headers: tuple[tuple[str, str], ...] = (("Host", "swr-api"), *DATE.items())
    body: bytes = b""

    @property
    def target(self) -> str:
        path = "".join(f"/{quote(segment, safe='')}" for segment in self.path)
        pairs = (f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in self.query)
        return f"{path}?{'&'.join(pairs)}" if self.query else path

    def sign(self) -> Signature:
        return sign(self.key, self.method, self.target, dict(self.headers), self.body)


def lines_of(target: str, headers: dict[str, str] | None = None) -> list[str]:
    return sign("secret", "GET", target, {**DATE, **(headers or {})}).canonical_request.split("\n")


@pytest.mark.parametrize(
    ("headers", "names"),
    [
        pytest.param({}, "x-sdk-date", id="the date alone"),
        pytest.param({"X_Note": "1", "x_y-z": "2"}, "x-sdk-date", id="underscores"),
        pytest.param({"X-Note": "1", "HOST": "h"}, "host;x-note;x-sdk-date", id="in order and lower case"),
        pytest.param({"X-Note": ""}, "x-note;x-sdk-date", id="an empty one"),
    ],
)
def test_all_headers_but_those_with_an_underscore_are_signed(headers: dict[str, str], names: str) -> None:
    signature = sign("secret", "GET", "/", {**DATE, **headers})
    assert signature.signed_names == names
    assert signature.canonical_request.split("\n")[-2] == names
    assert f"SignedHeaders={names}, " in signature.authorization("key")


def test_a_header_that_is_not_signed_changes_nothing() -> None:
    assert sign("secret", "GET", "/", {**DATE, "x_note": "1"}) == sign("secret", "GET", "/", DATE)


def test_blanks_around_a_header_are_not_signed() -> None:
    assert lines_of("/", {"X-Note": "\t a  b "}) == lines_of("/", {"x-note": "a  b"})


def test_without_a_date_nothing_is_signed() -> None:
    with pytest.raises(KeyError, match="x-sdk-date"):
        sign("secret", "GET", "/", {"Host": "h"})


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        pytest.param("/a", "/a/", "", id="a slash at the end"),
        pytest.param("/a/", "/a/", "", id="no second slash"),
        pytest.param("/a?", "/a/", "", id="empty query"),
        pytest.param("/a?b", "/a/", "b=", id="no value"),
        pytest.param("/a?b=1&&c=2&", "/a/", "b=1&c=2", id="empty pairs"),
        pytest.param("/a?b=c=d", "/a/", "b=c%3Dd", id="an equals sign inside"),
        pytest.param("/a?b=2&b=1&a=3", "/a/", "a=3&b=1&b=2", id="sorted by key, then by value"),
        pytest.param("/a?b=%2b+c", "/a/", "b=%2B%2Bc", id="a plus is no blank"),
        pytest.param("/a?b=%20%7e%2d", "/a/", "b=%20~-", id="encoded anew"),
        pytest.param("/a?b=1?c=2", "/a/", "b=1%3Fc%3D2", id="a second question mark"),
        pytest.param("/%7ea/b:c", "/~a/b%3Ac/", "", id="path encoded anew"),
        pytest.param("/a?b=%E9%95%9C&c=镜", "/a/", "b=%E9%95%9C&c=%E9%95%9C", id="not ASCII"),
    ],
)
def test_path_and_query_have_one_canonical_form(target: str, path: str, query: str) -> None:
    assert lines_of(target)[1:3] == [path, query]


@pytest.mark.parametrize(
    ("headers", "body", "last"),
    [
        pytest.param({}, b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", id="no body"),
        pytest.param({}, b"a", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb", id="body"),
        pytest.param({"X-Sdk-Content-Sha256": "told"}, b"a", "told", id="told"),
        pytest.param(
            {"X-Sdk-Content-Sha256": "told"},
            b"",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            id="told of no body",
        ),
    ],
)
def test_the_last_line_stands_for_the_body(headers: dict[str, str], body: bytes, last: str) -> None:
    canonical = sign("secret", "POST", "/", {**DATE, **headers}, body).canonical_request
    assert canonical.split("\n")[-1] == last


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SEGMENTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), min_size=1, max_size=8)
NAMES = st.from_regex(r"x-[a-z0-9]{1,6}", fullmatch=True)
VALUES = st.from_regex(r"([!-~]([ -~]{0,10}[!-~])?)?", fullmatch=True)


@st.composite
def requests(draw: st.DrawFn) -> Asked:
    return Asked(
        draw(TEXTS),
        draw(st.sampled_from(["GET", "POST", "DELETE"])),
        tuple(draw(st.lists(SEGMENTS, max_size=3))),
        tuple(sorted(draw(st.lists(st.tuples(TEXTS.filter(bool), TEXTS), max_size=4)))),
        tuple(sorted({**draw(st.dictionaries(NAMES, VALUES, max_size=3)), "x-sdk-date": DATE["X-Sdk-Date"]}.items())),
        draw(st.binary(max_size=12)),
    )


@given(requests(), requests(), st.sampled_from(Asked._fields))
def test_any_change_of_a_request_changes_its_signature(asked: Asked, other: Asked, part: str) -> None:
    changed = asked._replace(**{part: getattr(other, part)})
    # HMAC fills a short key up with zeros: these are the same key.
    assume(changed._replace(key=changed.key.rstrip("\0")) != asked._replace(key=asked.key.rstrip("\0")))
    assert changed.sign().value != asked.sign().value


@given(requests(), st.randoms(use_true_random=False))
def test_the_order_of_pairs_and_headers_does_not_matter(asked: Asked, random: Any) -> None:
    query, headers = list(asked.query), list(asked.headers)
    random.shuffle(query)
    random.shuffle(headers)
    assert asked._replace(query=tuple(query), headers=tuple(headers)).sign() == asked.sign()


@given(requests(), st.sampled_from([str.upper, str.title]))
def test_the_case_of_header_names_does_not_matter(asked: Asked, spell: Any) -> None:
    assert asked._replace(headers=tuple((spell(name), value) for name, value in asked.headers)).sign() == asked.sign()


@given(requests())
def test_a_canonical_path_and_query_are_their_own_canonical_form(asked: Asked) -> None:
    _, path, query, *_ = asked.sign().canonical_request.split("\n")
    assert lines_of(f"{path}?{query}")[1:3] == [path, query]


@given(TEXTS.map(lambda text: quote(text, safe="/?&=+:;%#|'")))
def test_however_a_query_is_spelt_its_canonical_form_is_its_own(query: str) -> None:
    _, path, canonical, *_ = lines_of(f"/?{query}")
    assert lines_of(f"/?{canonical}")[1:3] == [path, canonical]


@given(requests())
def test_what_the_gateway_encodes_is_canonical_already(asked: Asked) -> None:
    """The pairs are sorted, as gateway.core.filter has them: what is sent is what is signed."""
    path, _, query = asked.target.partition("?")
    assert asked.sign().canonical_request.split("\n")[1:3] == [f"{path}/", query]
