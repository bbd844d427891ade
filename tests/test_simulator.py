from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from yarl import URL

from gateway.core.convert import PageConverter
from gateway.core.error_body import ErrorBody, read_error_body
from gateway.core.errors import UPSTREAM_MALFORMED_RESPONSE, GatewayError
from gateway.core.filter import Dialect, Page, RepoQuery, request_target
from gateway.simulator.access import Access, Authenticator
from gateway.simulator.app import Faults, Malformed, make_app, running
from gateway.simulator.data import PARTNER, Repository, default_repositories, load_repositories
from gateway.simulator.error_answers import Rejection, Shape
from gateway.swr.v1.repos_pb2 import ListReposResponse
from steps import run

REPOS = "/v2/manage/repos"
SHARED = "/v2/manage/shared-repositories"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def names(self) -> list[str]:
        assert self.status == 200
        return [record["name"] for record in self.json]

    @property
    def error(self) -> ErrorBody:
        return read_error_body(self.body)


Ask = Callable[..., Awaitable[Answer]]


def repository(name: str, namespace: str, category: str, **fields: Any) -> Repository:
    return Repository(
        {"name": name, "namespace": namespace, "category": category, "domain_name": "acme", "total_range": 0, **fields}
    )


REPOSITORIES = (
    repository("nginx", "group", "linux"),
    repository("nginx-debug", "group", "other"),
    repository("web/nginx", "team-a", "linux"),
    repository("redis", "team-a", "database"),
    repository("busybox", "partner", "linux", domain_name=PARTNER),
)


@asynccontextmanager
async def simulator(
    repositories: Sequence[Repository] = REPOSITORIES, *, token: str = "", **faults: Any
) -> AsyncIterator[Ask]:
    """Run a simulator and yield what sends it requests, with targets as they are."""
    app = make_app(repositories, Faults(**faults), Authenticator(Access(token=token)))
    async with running(app) as url, aiohttp.ClientSession() as session:

        async def ask(target: str, *, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
            request = session.request(method, URL(url + target, encoded=True), headers=headers, allow_redirects=False)
            async with request as response:
                return Answer(response.status, response.headers, await response.read())

        yield ask


def filtered(clauses: str) -> str:
    return f"{REPOS}?filter={quote(clauses, safe='')}"


@pytest.mark.parametrize(
    ("clauses", "names"),
    [
        pytest.param("center::self", ["nginx", "nginx-debug", "web/nginx", "redis"], id="own"),
        pytest.param("center::thirdparty", ["busybox"], id="third party"),
        pytest.param("namespace::group", ["nginx", "nginx-debug"], id="namespace"),
        pytest.param("namespace::grou", [], id="part of a namespace"),
        pytest.param("name::nginx", ["nginx", "nginx-debug", "web/nginx"], id="name"),
        pytest.param("name::eb/ng", ["web/nginx"], id="part of a name"),
        pytest.param("category::linux", ["nginx", "web/nginx"], id="category"),
        pytest.param("category::lin", [], id="part of a category"),
        pytest.param("name::nginx|namespace::group|category::other", ["nginx-debug"], id="all clauses at once"),
        pytest.param("center::thirdparty|category::database", [], id="clauses that nothing meets"),
        pytest.param("center::self|offset::1|limit::2", ["nginx-debug", "web/nginx"], id="slice"),
        pytest.param("center::self|offset::3|limit::10", ["redis"], id="last slice"),
        pytest.param("center::self|offset::4|limit::10", [], id="slice behind the end"),
        pytest.param("namespace::team-a|offset::1|limit::1", ["redis"], id="slice of matches"),
    ],
)
async def test_filter_selects(clauses: str, names: list[str]) -> None:
    async with simulator() as ask:
        assert (await ask(filtered(clauses))).names == names


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(f"{REPOS}?filter=namespace%3A%3Ateam-a%7Cname%3A%3Aweb%2F", id="encoded"),
        pytest.param(f"{REPOS}?filter=namespace::team-a|name::web/", id="literal"),
        pytest.param(f"{REPOS}?filter=%27namespace%3A%3Ateam-a%7Cname%3A%3Aweb%2F%27", id="encoded quotes"),
        pytest.param(f"{REPOS}?filter='namespace::team-a|name::web/'", id="literal quotes"),
        pytest.param(f"{REPOS}?namespace=team-a&name=web%2F", id="parameters"),
        pytest.param(f"{REPOS}?namespace=team-a&name=web%2F&category=&order_column=name", id="more parameters"),
        pytest.param(f"{REPOS}?namespace=group&filter=namespace::team-a|name::web/&limit=10", id="filter wins"),
    ],
)
async def test_every_spelling_asks_the_same(target: str) -> None:
    async with simulator() as ask:
        assert (await ask(target)).names == ["web/nginx"]


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize(("center", "name"), [("self", "redis"), ("thirdparty", "busybox")])
async def test_every_dialect_of_the_gateway_is_understood(dialect: Dialect, center: str, name: str) -> None:
    query = RepoQuery(center=center, namespace="", name=name, category="", page=Page(0, 10))
    async with simulator() as ask:
        answer = await ask(request_target(query, dialect))
    assert answer.names == [name]
    assert answer.headers["Content-Range"] == "0-1/1"


async def test_every_target_that_the_official_sdk_sends_is_served_or_refused() -> None:
    cases = json.loads((Path(__file__).parent / "data" / "sdk_request_targets.json").read_text("utf-8"))["cases"]
    targets = [case["request_target"] for case in cases]
    async with simulator() as ask:
        statuses = {target: (await ask(target)).status for target in targets}
    assert len(statuses) > 50
    assert {target: status for target, status in statuses.items() if status not in (200, 400)} == {}


@pytest.mark.parametrize("path", [REPOS, SHARED])
async def test_third_party_is_found_at_both_paths(path: str) -> None:
    async with simulator() as ask:
        assert (await ask(f"{path}?center=thirdparty")).names == ["busybox"]


async def test_without_any_parameter_everything_of_ones_own_is_listed() -> None:
    async with simulator() as ask:
        assert (await ask(REPOS)).names == ["nginx", "nginx-debug", "web/nginx", "redis"]


@pytest.mark.parametrize(
    ("target", "content_range"),
    [
        pytest.param(filtered("center::self|offset::1|limit::2"), "1-2/4", id="filter"),
        pytest.param(f"{REPOS}?offset=1&limit=2", "1-2/4", id="parameters"),
        pytest.param(filtered("center::self|offset::9|limit::2"), "9-0/4", id="behind the end"),
        pytest.param(filtered("center::self"), None, id="no page asked for"),
        pytest.param(REPOS, None, id="nothing asked for"),
    ],
)
async def test_content_range_comes_only_with_offset_and_limit(target: str, content_range: str | None) -> None:
    async with simulator() as ask:
        assert (await ask(target)).headers.get("Content-Range") == content_range


async def test_content_range_can_be_left_out() -> None:
    async with simulator(content_range=False) as ask:
        answer = await ask(f"{REPOS}?offset=1&limit=2")
    assert answer.names == ["nginx-debug", "web/nginx"]
    assert "Content-Range" not in answer.headers


async def test_total_range_is_the_number_of_matches_on_every_record_that_has_one() -> None:
    old = Repository({"name": "old", "namespace": "group"})
    async with simulator((*REPOSITORIES, old)) as ask:
        answer = await ask(filtered("namespace::group|offset::1|limit::2"))
    assert [(record["name"], record.get("total_range")) for record in answer.json] == [
        ("nginx-debug", 3),
        ("old", None),
    ]


@pytest.mark.parametrize(
    ("faults", "offset", "limit", "names", "position"),
    [
        ({"page_cap": 2}, 0, 100, ["nginx", "nginx-debug"], "0-2/4"),
        ({"page_cap": 2}, 1, 1, ["nginx-debug"], "1-1/4"),
        ({"page_cap": 2}, 3, 100, ["redis"], "3-1/4"),
        ({"hide_every": 2}, 0, 100, ["nginx", "web/nginx"], "0-2/4"),
        ({"hide_every": 2}, 1, 2, ["web/nginx"], "1-1/4"),
        ({"hide_every": 1}, 0, 100, [], "0-0/4"),
        ({"hide_every": 2, "page_cap": 3}, 1, 100, ["web/nginx"], "1-1/4"),
        ({"multiples_only": True}, 2, 2, ["web/nginx", "redis"], "2-2/4"),
    ],
)
async def test_pages_may_be_shorter_than_asked_for(
    faults: dict[str, Any], offset: int, limit: int, names: list[str], position: str
) -> None:
    async with simulator(**faults) as ask:
        answer = await ask(filtered(f"center::self|offset::{offset}|limit::{limit}"))
        assert (answer.names, answer.headers["Content-Range"]) == (names, position)


@pytest.mark.parametrize(("offset", "limit"), [(1, 2), (176, 100), (100, 1000)])
async def test_offsets_may_have_to_be_multiples_of_the_limit(offset: int, limit: int) -> None:
    target = filtered(f"center::self|offset::{offset}|limit::{limit}")
    async with simulator(multiples_only=True) as ask:
        answer = await ask(target)
        assert answer.status == 400
        assert b"offset must be a multiple of limit" in answer.body
    async with simulator() as ask:
        assert (await ask(target)).status == 200


@pytest.mark.parametrize(("target", "count"), [(REPOS, 100), (f"{REPOS}?offset=0&limit=1000", 1000)])
async def test_a_page_has_100_records_or_as_many_as_asked_for(target: str, count: int) -> None:
    async with simulator(default_repositories(1200)) as ask:
        assert len((await ask(target)).json) == count


@pytest.mark.parametrize(
    ("query", "code"),
    [
        pytest.param("filter=", "SVCSTG.SWR.4000055", id="empty filter"),
        pytest.param("filter=''", "SVCSTG.SWR.4000055", id="empty quotes"),
        pytest.param("filter=nginx", "SVCSTG.SWR.4001035", id="no clause"),
        pytest.param("filter=name:nginx", "SVCSTG.SWR.4001035", id="one colon"),
        pytest.param("filter=colour::red", "SVCSTG.SWR.4001035", id="unknown key"),
        pytest.param("filter=name::", "SVCSTG.SWR.4001035", id="no value"),
        pytest.param("filter=name::nginx|", "SVCSTG.SWR.4001035", id="empty clause"),
        pytest.param("filter=center::theirs", "SVCSTG.SWR.4001035", id="unknown center"),
        pytest.param("center=theirs", "SVCSTG.SWR.4001035", id="unknown center as parameter"),
        pytest.param("filter=center::self|offset::0", "SVCSTG.SWR.4000014", id="offset alone"),
        pytest.param("filter=center::self|limit::10", "SVCSTG.SWR.4000014", id="limit alone"),
        pytest.param("limit=10", "SVCSTG.SWR.4000014", id="limit alone as parameter"),
        pytest.param("offset=-1&limit=10", "SVCSTG.SWR.4000014", id="negative offset"),
        pytest.param("offset=one&limit=10", "SVCSTG.SWR.4000014", id="offset in letters"),
        pytest.param("offset=2147483648&limit=10", "SVCSTG.SWR.4000014", id="offset of 32 bits"),
        pytest.param("offset=0&limit=0", "SVCSTG.SWR.4000056", id="limit 0"),
        pytest.param("offset=0&limit=1001", "SVCSTG.SWR.4000056", id="limit 1001"),
        pytest.param("offset=0&limit=ten", "SVCSTG.SWR.4000056", id="limit in letters"),
        pytest.param("offset=0&limit=%EF%BC%91", "SVCSTG.SWR.4000056", id="limit in a foreign digit"),
        pytest.param(f"offset=0&limit={19999:016}", "SVCSTG.SWR.4000056", id="large limit behind zeros"),
        pytest.param(f"offset=0&limit={'9' * 5000}", "SVCSTG.SWR.4000056", id="limit of 5000 digits"),
    ],
)
async def test_bad_query_is_refused_with_400_and_its_code(query: str, code: str) -> None:
    async with simulator() as ask:
        answer = await ask(f"{REPOS}?{query}")
    assert answer.status == 400
    assert answer.error.code == code
    assert answer.error.message


async def test_a_number_of_5000_zeros_is_answered_as_a_number_or_refused() -> None:
    async with simulator() as ask:
        assert (await ask(f"{REPOS}?offset={'0' * 5000}&limit=1")).status in (200, 400)


@pytest.mark.parametrize("path", ["/", "/v2/manage", "/v2/manage/repos/", "/v2/manage/repositories"])
async def test_unknown_path_is_refused_as_the_api_gateway_does(path: str) -> None:
    async with simulator() as ask:
        answer = await ask(path)
    assert answer.status == 404
    assert answer.error.code == "APIGW.0101"
    assert answer.error.request_id == answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("token", "headers", "status"),
    [
        pytest.param("", {}, 200, id="none wanted"),
        pytest.param("", {"X-Auth-Token": "any"}, 200, id="none wanted but sent"),
        pytest.param("right", {"X-Auth-Token": "right"}, 200, id="right"),
        pytest.param("r" * 20_000, {"X-Auth-Token": "r" * 20_000}, 200, id="as long as the cloud's"),
        pytest.param("right", {}, 401, id="missing"),
        pytest.param("right", {"X-Auth-Token": "wrong"}, 401, id="wrong"),
        pytest.param("right", {"X-Auth-Token": ""}, 401, id="empty"),
    ],
)
async def test_token_is_checked(token: str, headers: Mapping[str, str], status: int) -> None:
    async with simulator(token=token) as ask:
        answer = await ask(REPOS, headers=headers)
    assert answer.status == status
    assert answer.error.code == ("APIGW.0301" if status == 401 else "")


@pytest.mark.parametrize(
    ("target", "method", "status"),
    [
        pytest.param(REPOS, "GET", 200, id="page"),
        pytest.param(f"{REPOS}?filter=", "GET", 400, id="bad query"),
        pytest.param("/elsewhere", "GET", 404, id="unknown path"),
        pytest.param(REPOS, "POST", 405, id="unknown method"),
    ],
)
async def test_every_answer_has_a_request_id_of_its_own(target: str, method: str, status: int) -> None:
    async with simulator() as ask:
        answers = [await ask(target, method=method) for _ in range(3)]
    assert {answer.status for answer in answers} == {status}
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == 3


async def test_answers_of_faults_have_request_ids_too() -> None:
    async with simulator(token="right") as closed, simulator(error_status=204) as broken:
        assert (await closed(REPOS)).headers["X-Request-Id"]
        assert (await broken(REPOS)).headers["X-Request-Id"]


@pytest.mark.parametrize("status", [200, 204, 302, 304, 400, 401, 403, 404, 409, 429, 500, 503, 599])
async def test_error_status_is_the_status_of_every_answer(status: int) -> None:
    async with simulator(error_status=status) as ask:
        assert {(await ask(target)).status for target in (REPOS, SHARED, f"{REPOS}?filter=")} == {status}


CODE, TEXT = "SVCSTG.SWR.5030001", "simulated error"


@pytest.mark.parametrize(
    ("shape", "document", "error"),
    [
        (Shape.LIST, [{"errorCode": CODE, "errorMessage": TEXT, "detail": ""}], ErrorBody(CODE, TEXT)),
        (Shape.ERRORS, {"errors": [{"errorCode": CODE, "errorMessage": TEXT}]}, ErrorBody(CODE, TEXT)),
        (Shape.FLAT, {"errorCode": CODE, "errorMsg": TEXT}, ErrorBody(CODE, TEXT)),
        (
            Shape.APIGW,
            {"error_code": CODE, "error_msg": TEXT, "request_id": "sim-00000001"},
            ErrorBody(CODE, TEXT, "sim-00000001"),
        ),
        (Shape.IAM, {"error": {"code": 503, "message": TEXT, "title": "Error"}}, ErrorBody("", TEXT)),
        (Shape.REGISTRY, {"errors": [{"code": "DENIED", "message": TEXT}]}, ErrorBody("DENIED", TEXT)),
    ],
)
async def test_error_shape_is_one_that_the_gateway_reads(shape: Shape, document: Any, error: ErrorBody) -> None:
    async with simulator(error_status=503, error_shape=shape) as ask:
        answer = await ask(REPOS)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json == document
    assert answer.error == error


@pytest.mark.parametrize(("shape", "beginning"), [(Shape.HTML, b"<html>"), (Shape.EMPTY, b"")])
async def test_error_shapes_that_say_nothing_are_read_as_nothing(shape: Shape, beginning: bytes) -> None:
    async with simulator(error_status=503, error_shape=shape) as ask:
        answer = await ask(REPOS)
    assert answer.body[:6] == beginning
    assert answer.error == ErrorBody()


async def test_error_shape_is_that_of_refusals_too() -> None:
    async with simulator(error_shape=Shape.FLAT) as ask:
        answer = await ask(f"{REPOS}?filter=")
    assert answer.status == 400
    assert answer.json["errorCode"] == "SVCSTG.SWR.4000055"


def convert(body: bytes) -> bytes:
    page, _ = run(PageConverter(0).convert(body, None, None))
    return page.message


@pytest.mark.parametrize("malformed", Malformed)
async def test_malformed_page_has_status_200_and_is_no_list_of_repositories(malformed: Malformed) -> None:
    async with simulator(malformed=malformed) as ask:
        answer = await ask(REPOS)
    assert answer.status == 200
    with pytest.raises(GatewayError) as raised:
        convert(answer.body)
    assert raised.value.cause is UPSTREAM_MALFORMED_RESPONSE


@pytest.mark.parametrize("count", [1, 5, 20, 100])
async def test_oddly_spelled_values_mean_what_the_plain_ones_do(count: int) -> None:
    repositories = default_repositories(count)
    target = filtered(f"center::self|offset::0|limit::{count}")
    async with simulator(repositories, odd_values=True) as ask_odd, simulator(repositories) as ask:
        odd, plain = await ask_odd(target), await ask(target)
    assert odd.headers["Content-Range"] == plain.headers["Content-Range"]
    told, meant = (ListReposResponse.FromString(convert(answer.body)).repos for answer in (odd, plain))
    assert len(told) == len(meant) > 0
    for one, other in zip(told, meant, strict=True):
        other.description = "cut in the middle of a \ufffd"
        assert one == other


async def test_the_turns_of_odd_values_go_on_from_page_to_page() -> None:
    repositories = default_repositories(20)
    async with simulator(repositories, odd_values=True) as ask:
        whole = (await ask(filtered("center::self|offset::0|limit::4"))).body
        halves = [(await ask(filtered(f"center::self|offset::{offset}|limit::2"))).body for offset in (0, 2)]
    assert whole == halves[0][:-1] + b"," + halves[1][1:]
    spellings = [b".0", b"E+0", b'"', b'.0"']
    assert re.findall(rb'"num_images":"?\d+(.*?),', whole) == spellings


@pytest.mark.parametrize("rejection", Rejection)
async def test_a_rejected_token_is_refused_in_the_words_that_were_ordered(rejection: Rejection) -> None:
    async with simulator(token="right", rejection=rejection) as ask:
        assert (await ask(REPOS, headers={"X-Auth-Token": "wrong"})).status == 401
        assert (await ask(REPOS, headers={"X-Auth-Token": "right"})).status == 200
        assert (await ask("/nowhere")).error.code == "APIGW.0101"


async def test_each_rejection_has_words_of_its_own() -> None:
    told = set()
    for rejection in Rejection:
        async with simulator(token="right", rejection=rejection) as ask:
            answer = await ask(REPOS, headers={"X-Auth-Token": "wrong"})
            told.add(re.sub(rb"sim-\d+", b"", answer.body))
    assert len(told) == len(Rejection)


async def test_each_malformed_page_is_malformed_in_its_own_way() -> None:
    bodies = set()
    for malformed in Malformed:
        async with simulator(malformed=malformed) as ask:
            bodies.add((await ask(REPOS)).body)
    assert len(bodies) == len(Malformed)


async def test_latency_holds_back_answers_but_not_the_end() -> None:
    async with simulator(latency=3600.0) as ask_slow, simulator(latency=0.0) as ask:
        slow = asyncio.ensure_future(ask_slow(REPOS))
        for _ in range(20):
            assert (await ask(REPOS)).status == 200
        assert not slow.done()
        slow.cancel()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_the_url_leads_to_the_server_for_as_long_as_it_runs(host: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with running(make_app(REPOSITORIES), host) as url:
            assert url.startswith(f"http://{host}:")
            async with session.get(url + REPOS) as response:
                assert response.status == 200
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url + REPOS)


async def test_the_first_record_is_the_example_of_the_reference() -> None:
    async with simulator(default_repositories()) as ask:
        answer = await ask(filtered("namespace::root|offset::0|limit::10"))
    assert answer.json == [
        {
            "name": "nginx",
            "category": "linux",
            "size": 200977474,
            "is_public": False,
            "num_images": 2,
            "num_download": 0,
            "created_at": "2017-01-01T00:00:00Z",
            "updated_at": "2017-09-11T03:00:02.542841141Z",
            "url": "",
            "path": "swr.cn-north-1.myhuaweicloud.com/namespace/repository",
            "internal_path": "10.125.0.198:20202/namespace/repository",
            "domain_name": "root",
            "namespace": "root",
            "tags": ["latest", "log"],
            "status": False,
        }
    ]
    assert default_repositories()[0].record == answer.json[0]


def test_there_are_at_least_200_varied_repositories() -> None:
    records = [repository.record for repository in default_repositories()]
    assert len(records) >= 200
    assert {record["category"] for record in records} >= {"app_server", "linux", "framework_app", "database"}
    assert len({record["namespace"] for record in records}) >= 8
    assert {record["is_public"] for record in records} == {True, False}
    assert {repository.center for repository in default_repositories()} == {"self", "thirdparty"}
    assert any("/" in record["name"] for record in records)
    assert any(record["size"] > 2**53 for record in records)  # a float would round it
    assert any(record["size"] == 0 for record in records)
    assert any(record.get("tags") is None for record in records)
    assert any(not record.get("description", "").isascii() for record in records)


def test_no_two_repositories_have_the_same_namespace_and_name() -> None:
    records = [repository.record for repository in default_repositories(2000)]
    assert len({(record["namespace"], record["name"]) for record in records}) == len(records)


def test_all_times_are_readable() -> None:
    for repository in default_repositories():
        for field in ("created_at", "updated_at"):
            Timestamp().FromJsonString(repository.record[field])


def test_all_records_are_convertible() -> None:
    records = [repository.record for repository in default_repositories()]
    assert convert(json.dumps(records).encode())


@pytest.mark.parametrize("count", [0, 1, 20, 21, 256, 1000])
def test_there_are_as_many_as_asked_for_and_always_the_same(count: int) -> None:
    own = [repository for repository in default_repositories(count) if repository.center == "self"]
    assert len(own) == count
    assert own == default_repositories(max(count, 500))[:count]


async def test_records_of_ones_own_are_served_as_they_are(tmp_path: Path) -> None:
    records = [
        {"name": "mine", "namespace": "我", "size": 2**63 - 1, "unknown": {"deep": [1.5, None]}},
        {"name": "bare"},
    ]
    path = tmp_path / "records.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    async with simulator(load_repositories(path)) as ask:
        assert (await ask(REPOS)).json == records
        assert (await ask(f"{REPOS}?namespace=%E6%88%91")).names == ["mine"]


async def test_records_of_ones_own_may_be_cut_in_the_middle_of_a_character(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    path.write_text(r'[{"name": "a", "description": "cut \ud83d"}]')
    async with simulator(load_repositories(path)) as ask:
        assert (await ask(REPOS)).json == [{"name": "a", "description": "cut \ufffd"}]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("[", id="not JSON"),
        pytest.param('{"name": "a"}', id="not an array"),
        pytest.param('["a"]', id="not objects"),
        pytest.param('[{"name": "a"}, {"namespace": "b"}]', id="no name"),
        pytest.param('[{"name": null}]', id="name of another type"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "records.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"."):
        load_repositories(path)


def test_a_file_that_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_repositories(tmp_path / "none.json")
