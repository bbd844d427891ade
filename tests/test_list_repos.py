"""ListRepos from a gRPC client to an upstream and back."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

import grpc
import pytest

from conftest import Serve
from failures import failure_of
from gateway.simulator.app import make_app, running
from gateway.simulator.data import default_repositories
from gateway.swr.v1 import repos_pb2
from patience import HOUR, Advance
from scripted_upstream import Act, ScriptedUpstream, answer, page

DATA = Path(__file__).parent / "data"
EXAMPLE = json.dumps(json.loads((DATA / "sample_repos.json").read_bytes())[:1])


async def test_the_example_of_the_reference_comes_through(serve: Serve) -> None:
    async with running(make_app(default_repositories())) as url:
        stub = (await serve(upstream_url=url)).stub
        wanted = repos_pb2.RepoFilter(namespace="root")
        reply = await stub.ListRepos(repos_pb2.ListReposRequest(filter=wanted, offset=0, limit=10))
    (repo,) = reply.repos
    assert (repo.namespace, repo.name, repo.size, list(repo.tags)) == ("root", "nginx", 200977474, ["latest", "log"])
    assert repo.updated_at.ToJsonString() == "2017-09-11T03:00:02.542841141Z"
    assert reply.content_range == repos_pb2.ContentRange(offset=0, count=1, total=1)


@pytest.mark.parametrize("dialect", ["filter", "filter-quoted", "query"])
async def test_all_fields_of_a_request_reach_the_upstream_in_every_dialect(serve: Serve, dialect: str) -> None:
    async with running(make_app(default_repositories())) as url:
        stub = (await serve(upstream_url=url, dialect=dialect)).stub
        wanted = repos_pb2.RepoFilter(
            center=repos_pb2.CENTER_THIRD_PARTY, namespace="partner", name="p", category="linux"
        )
        reply = await stub.ListRepos(repos_pb2.ListReposRequest(filter=wanted, offset=1, limit=1))
    (repo,) = reply.repos
    assert (repo.namespace, repo.category, repo.domain_name) == ("partner", "linux", "partner-corp")
    assert "p" in repo.name
    assert reply.content_range.offset == 1
    assert reply.content_range.total < 10


async def test_an_empty_request_lists_the_first_hundred(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(page(EXAMPLE))
    reply = await (await serve()).stub.ListRepos(repos_pb2.ListReposRequest())
    assert len(reply.repos) == 1
    assert not reply.HasField("content_range")
    assert upstream.requests[0].target == "/v2/manage/repos?filter=center%3A%3Aself"


@pytest.mark.parametrize("value", ["a b", "a+b", "a%b", "a%2Fb", "镜像/仓库", "~a.b_c-d", "a&limit=5", "a#b?c=d"])
async def test_the_target_goes_out_byte_for_byte(serve: Serve, upstream: ScriptedUpstream, value: str) -> None:
    wanted = repos_pb2.RepoFilter(name=value)
    await (await serve()).stub.ListRepos(repos_pb2.ListReposRequest(filter=wanted))
    target = upstream.requests[0].target
    assert unquote(target) == f"/v2/manage/repos?filter=center::self|name::{value}"
    assert not set(target.partition("?")[2]) & set(" +:|/'&#?")


async def test_upstream_requests_carry_what_they_need_and_no_more(serve: Serve, upstream: ScriptedUpstream) -> None:
    stub = (await serve()).stub
    metadata = (("x-request-id", "call-7"), ("authorization", "Bearer x"), ("cookie", "a=b"), ("x-other", "y"))
    await stub.ListRepos(repos_pb2.ListReposRequest(), metadata=metadata)
    (request,) = upstream.requests
    assert request.method == "GET"
    assert set(request.headers) == {"host", "accept", "accept-encoding", "user-agent", "x-request-id"}
    assert request.headers["x-request-id"] == "call-7"


@pytest.mark.parametrize("sent", [None, "", "with blank", "x" * 129], ids=repr)
async def test_a_request_id_that_cannot_be_passed_on_is_replaced(
    serve: Serve, upstream: ScriptedUpstream, sent: str | None
) -> None:
    stub = (await serve()).stub
    metadata = () if sent is None else (("x-request-id", sent),)
    call = stub.ListRepos(repos_pb2.ListReposRequest(), metadata=metadata)
    await call
    returned = dict(await call.trailing_metadata())["x-request-id"]
    assert returned == upstream.requests[0].headers["x-request-id"]
    assert returned != sent


async def test_every_violation_is_named_and_nothing_goes_upstream(serve: Serve, upstream: ScriptedUpstream) -> None:
    stub = (await serve()).stub
    wanted = repos_pb2.RepoFilter(center=7, namespace="a|b", name="'x'", category=" ")  # type: ignore[arg-type]
    failure = await failure_of(stub.ListRepos(repos_pb2.ListReposRequest(filter=wanted, offset=-1)))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.reason == "INVALID_REQUEST"
    assert [field for field, _ in failure.violations] == [
        "filter.center",
        "filter.namespace",
        "filter.name",
        "filter.category",
        "limit",
        "offset",
    ]
    assert upstream.requests == []


async def test_a_token_of_the_caller_goes_upstream_with_its_call_only(serve: Serve, upstream: ScriptedUpstream) -> None:
    stub = (await serve(auth="passthrough")).stub
    large = "t" * 20_000
    await stub.ListRepos(repos_pb2.ListReposRequest(), metadata=(("x-auth-token", large),))
    failure = await failure_of(stub.ListRepos(repos_pb2.ListReposRequest()))
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_MISSING")
    assert [request.headers["x-auth-token"] for request in upstream.requests] == [large]


async def test_the_gateways_own_token_is_sent_and_the_callers_is_not(serve: Serve, upstream: ScriptedUpstream) -> None:
    stub = (await serve(auth="token", token="own")).stub
    await stub.ListRepos(repos_pb2.ListReposRequest(), metadata=(("x-auth-token", "callers"),))
    assert upstream.requests[0].headers["x-auth-token"] == "own"


async def test_a_token_that_the_upstream_repeats_is_masked(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(answer(401, '{"error_code":"APIGW.0301","error_msg":"bad token tok-123 sent"}'))
    stub = (await serve(auth="token", token="tok-123")).stub
    failure = await failure_of(stub.ListRepos(repos_pb2.ListReposRequest()))
    assert failure.message == "bad token *** sent"


async def test_the_upstreams_error_arrives_whole(serve: Serve, upstream: ScriptedUpstream) -> None:
    body = '[{"errorCode":"SVCSTG.SWR.4031042","errorMessage":"There are too many requests.","detail":""}]'
    upstream.play(answer(403, body, {"X-Request-Id": "up-1", "Retry-After": "7"}))
    stub = (await serve()).stub
    failure = await failure_of(stub.ListRepos(repos_pb2.ListReposRequest(), metadata=(("x-request-id", "mine"),)))
    assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert failure.message == "There are too many requests."
    assert failure.reason == "UPSTREAM_RATE_LIMITED"
    assert dict(failure.info.metadata) == {
        "httpStatus": "403",
        "upstreamCode": "SVCSTG.SWR.4031042",
        "attempts": "1",
    }
    assert list(failure.details) == ["ErrorInfo", "RetryInfo", "QuotaFailure", "RequestInfo"]
    assert failure.trailers["grpc-retry-pushback-ms"] == "-1"
    assert failure.trailers["x-request-id"] == "mine"
    assert 'request_id: "mine"\nserving_data: "up-1"' in str(failure.details["RequestInfo"])


async def test_a_page_that_is_none_is_an_error_and_never_an_empty_list(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    stub = (await serve()).stub
    for body in ("", "<html>", '{"repos":[]}', "[1]", '[{"name":1}]', "[{}", "[" * 100_000, "\ufeff[]"):
        upstream.play(page(body))
        failure = await failure_of(stub.ListRepos(repos_pb2.ListReposRequest()))
        assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "UPSTREAM_MALFORMED_RESPONSE"), body[:20]


async def test_null_is_an_empty_list(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(page("null"))
    reply = await (await serve()).stub.ListRepos(repos_pb2.ListReposRequest())
    assert reply == repos_pb2.ListReposResponse()


async def test_a_page_of_thousands_of_rows_comes_through(serve: Serve, upstream: ScriptedUpstream) -> None:
    rows = [{"name": f"r-{number}", "description": "x" * 400} for number in range(5000)]
    upstream.play(page(json.dumps(rows), {"Content-Range": "0-5000/9000"}))
    reply = await (await serve()).stub.ListRepos(repos_pb2.ListReposRequest())
    assert [repo.name for repo in reply.repos] == [row["name"] for row in rows]
    assert reply.content_range.total == 9000


async def test_a_cancelled_call_closes_the_upstream_request(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play((Act.STALL,))
    call = (await serve()).stub.ListRepos(repos_pb2.ListReposRequest())
    await upstream.all_arrived(1)
    call.cancel()
    await upstream.all_hung_up(1)


@pytest.mark.parametrize("seconds", [0.2, 0.001])
async def test_a_callers_deadline_closes_the_upstream_request(
    serve: Serve, upstream: ScriptedUpstream, seconds: float
) -> None:
    upstream.play((Act.STALL,))
    stub = (await serve()).stub
    failure = await failure_of(stub.ListRepos(repos_pb2.ListReposRequest(), timeout=seconds))
    assert failure.code is grpc.StatusCode.DEADLINE_EXCEEDED
    if upstream.requests:
        await upstream.all_hung_up(1)


@pytest.mark.parametrize("limit", ["timeout", "attempt_timeout"])
async def test_the_gateways_own_limits_are_not_the_callers_deadline(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance, limit: str
) -> None:
    upstream.play((Act.STALL,))
    stub = (await serve(**{limit: "1h"})).stub
    call = stub.ListRepos(repos_pb2.ListReposRequest(), timeout=10 * HOUR)
    await upstream.all_arrived(1)
    advance(HOUR)
    failure = await failure_of(call)
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_TIMEOUT")
    assert failure.info.metadata["phase"] == "headers"
    await upstream.all_hung_up(1)


async def test_a_thousand_cancelled_calls_leave_room_for_the_next(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play((Act.STALL,))
    stub = (await serve(max_in_flight=10, max_queue=1000)).stub
    calls = [stub.ListRepos(repos_pb2.ListReposRequest()) for _ in range(1000)]
    await upstream.all_arrived(1)
    for call in calls:
        call.cancel()
    upstream.play(page(EXAMPLE))
    reply = await stub.ListRepos(repos_pb2.ListReposRequest())
    assert len(reply.repos) == 1
