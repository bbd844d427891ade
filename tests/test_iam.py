"""Tokens from IAM, on real sockets: how calls fare while tokens come, end, are revoked or fail to come."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
import pytest
from aiohttp import web
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2

from conftest import OPERATED, Serve, Served
from failures import Failure, failure_of
from gateway.credentials import iam_token as credentials
from gateway.simulator.access import Access, Authenticator
from gateway.simulator.app import Faults, make_app, running
from gateway.simulator.data import default_repositories
from gateway.simulator.error_answers import Rejection
from gateway.swr.v1 import repos_pb2
from patience import HOUR, PATIENT, Advance
from ports import held_port
from scripted_upstream import Act, Reply, Request, Script, ScriptedUpstream, answer, page, scripted_upstream

USERNAME, PASSWORD = "robot", "canary pass\"word'|镜"
REQUEST = repos_pb2.ListReposRequest()
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def apigw(message: str, code: str = "APIGW.0301") -> str:
    return json.dumps({"error_code": code, "error_msg": f"Incorrect IAM authentication information: {message}"})


def issued(token: str, until: str = "2026-01-02T00:00:00Z", spaces: int = 0) -> bytes:
    """IAM's answer with a token; the clock of this machine has no part in it."""
    body = json.dumps({"token": {"issued_at": "2026-01-01T00:00:00Z", "expires_at": until, "catalog": []}})
    return answer(201, body + " " * spaces, {"X-Subject-Token": token})


def good(*tokens: str) -> Reply:
    """An upstream that calls every other token expired."""
    expired = answer(401, apigw("token expires"))
    return lambda request: page("[]") if request.headers["x-auth-token"] in tokens else expired


def tokens_at(upstream: ScriptedUpstream) -> list[str]:
    return [request.headers["x-auth-token"] for request in upstream.requests]


def watch(served: Served) -> Any:
    return served.health.Watch(health_pb2.HealthCheckRequest())


def renewals(served: Served) -> dict[str, float]:
    """Return how often a token was asked for, by the result."""
    (counted,) = served.gateway._metrics.token_renewals.collect()
    return {sample.labels["result"]: sample.value for sample in counted.samples}


@pytest.fixture
async def iam() -> AsyncIterator[ScriptedUpstream]:
    """IAM, which plays bytes as the upstream does."""
    async with scripted_upstream() as iam:
        iam.play(issued("first"), issued("second"), issued("third"))
        yield iam


@pytest.fixture
def serve(serve: Serve, iam: ScriptedUpstream) -> Serve:
    """Start a gateway between the upstream and IAM, or between others."""
    user = {"iam_username": USERNAME, "iam_password": PASSWORD, "iam_domain": "acme", "iam_project": "cn-north-4"}
    return partial(serve, auth="iam", iam_url=iam.url, retries=2, **user)


@pytest.fixture
def _renewed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "RENEW_AFTER", 0.0)
    monkeypatch.setattr(credentials, "SPREAD", 0.0)


@pytest.fixture
def _tried_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "FIRST_WAIT", 0.01)


@pytest.fixture
def _tried_again_late(monkeypatch: pytest.MonkeyPatch) -> None:
    for wait in ("FIRST_WAIT_REFUSED", "MAX_WAIT"):
        monkeypatch.setattr(credentials, wait, HOUR)


@pytest.fixture
def _at_any_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "PACE", 0.0)


async def unavailable(call: grpc.aio.Call) -> Failure:
    """Await a call that there is no token for."""
    failure = await failure_of(call)
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert failure.reason == "CREDENTIAL_SOURCE_UNAVAILABLE"
    return failure


async def rejected(call: grpc.aio.Call) -> Failure:
    """Await a call whose token the upstream rejects."""
    failure = await failure_of(call)
    assert failure.code is grpc.StatusCode.UNAUTHENTICATED
    assert failure.reason == "UPSTREAM_CREDENTIAL_REJECTED"
    return failure


# A token comes


async def test_one_token_is_fetched_at_start_and_sent_with_every_call(
    serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream
) -> None:
    served = await serve()
    await iam.all_arrived(1)
    for _ in range(3):
        await served.list()
    assert tokens_at(upstream) == ["first"] * 3
    (request,) = iam.requests
    assert (request.method, request.target) == ("POST", "/v3/auth/tokens")
    assert request.headers["content-type"] == "application/json;charset=utf8"
    assert renewals(served) == {"ok": 1}
    assert served.metric("token_expiry_timestamp_seconds") == 1.767312e09


async def test_iams_answers_may_be_compressed(serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream) -> None:
    head, _, body = issued("first").partition(b"\r\n\r\n")
    packed = gzip.compress(body)
    head = re.sub(rb"Content-Length: \d+", b"Content-Encoding: gzip\r\nContent-Length: %d" % len(packed), head)
    iam.play(head + b"\r\n\r\n" + packed)
    await (await serve()).list()
    assert tokens_at(upstream) == ["first"]


async def test_the_gateway_serves_from_the_first_token_on(serve: Serve, iam: ScriptedUpstream) -> None:
    release = asyncio.Event()
    iam.play((release, issued("first")))
    served = await serve(**OPERATED)
    health = watch(served)
    assert (await health.read()).status == NOT_SERVING
    assert await served.ask("/readyz") == (503, "no token from IAM\nupstream circuit: closed\n")
    release.set()
    assert (await health.read()).status == SERVING
    assert await served.ask("/readyz") == (200, "ok\nupstream circuit: closed\n")


async def test_calls_that_come_before_the_token_wait_for_it(
    serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream
) -> None:
    release = asyncio.Event()
    iam.play((release, issued("first")))
    served = await serve()
    calls = [served.list() for _ in range(20)]
    assert (await watch(served).read()).status == NOT_SERVING
    assert not any(call.done() for call in calls)
    assert upstream.requests == []
    release.set()
    await asyncio.gather(*calls)
    assert tokens_at(upstream) == ["first"] * 20
    assert len(iam.requests) == 1


async def test_a_call_that_cannot_wait_for_the_token_leaves_the_others_waiting(
    serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream
) -> None:
    release = asyncio.Event()
    iam.play((release, issued("first")))
    served = await serve()
    patient = served.list()
    assert (await failure_of(served.list(timeout=0.2))).code is grpc.StatusCode.DEADLINE_EXCEEDED
    release.set()
    await patient
    assert tokens_at(upstream) == ["first"]
    assert len(iam.requests) == 1


async def test_a_call_waits_for_the_token_no_longer_than_the_gateway_lets_it(
    serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream
) -> None:
    iam.play((Act.STALL,))
    served = await serve(timeout="100ms")
    await unavailable(served.list(timeout=10 * HOUR))
    assert upstream.requests == []


# The upstream rejects it


async def test_fifty_calls_whose_token_was_revoked_wait_for_one_new_token(
    serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream
) -> None:
    all_here = asyncio.Event()
    upstream.play((all_here, good("second")))
    served = await serve()
    calls = [served.list() for _ in range(50)]
    await upstream.all_arrived(50)
    all_here.set()
    await asyncio.gather(*calls)
    assert len(iam.requests) == 2
    assert Counter(tokens_at(upstream)) == {"first": 50, "second": 50}
    assert {*Counter(request.headers["x-request-id"] for request in upstream.requests).values()} == {2}


KEYSTONE = "The request you have made requires authentication."
# What 401 says of a token whose user's password or permissions have changed.
REJECTIONS = {
    "token expires": apigw("token expires"),
    "SWR's code": apigw("no", "SVCSTG.SWR.4010000"),
    "another code of SWR's": apigw("no", "SVCSTG.SWR.4010001"),
    "must be updated": '{"error_code":"APIGW.0307","error_msg":"The token must be updated."}',
    "decrypt": apigw("decrypt token fail"),
    "incorrect": '{"error_code":"APIGW.0305","error_msg":"Incorrect authentication information"}',
    "invalid": '{"message":"Invalid token."}',
    "unauthorized": '{"errors":[{"code":"UNAUTHORIZED","message":"Unauthorized"}]}',
    "Keystone": json.dumps({"error": {"code": 401, "title": "Unauthorized", "message": KEYSTONE}}),
    "plain text": "Unauthorized",
    "HTML": "<html><body><h1>401</h1></body></html>",
    "nothing": "",
}
any_rejection = pytest.mark.parametrize("body", REJECTIONS.values(), ids=REJECTIONS)


@any_rejection
async def test_any_401_is_one_new_token_and_one_more_request(
    serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream, body: str
) -> None:
    upstream.play(answer(401, body), page("[]"))
    served = await serve()
    await served.list()
    assert tokens_at(upstream) == ["first", "second"]
    assert len(iam.requests) == 2


async def test_a_401_is_renewed_whose_body_never_ends(
    serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.upstream.bodies.ERROR_BODY_TIMEOUT", 0.1)
    upstream.play((b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\n\r\n", Act.STALL), page("[]"))
    await (await serve(**PATIENT)).list()
    assert tokens_at(upstream) == ["first", "second"]
    assert len(iam.requests) == 2


async def test_a_token_that_dies_within_a_stream_is_renewed_once_and_no_repository_is_lost(
    serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream
) -> None:
    def dies_behind_the_first_page(request: Request) -> bytes:
        offset = int(request.clause("offset"))
        if offset and request.headers["x-auth-token"] == "first":
            return answer(401)
        return page(json.dumps([{"name": f"r-{offset}"}]), {"Content-Range": f"{offset}-1/8"})

    upstream.play((dies_behind_the_first_page,))
    stream = (await serve(prefetch=4)).stub.StreamRepos(repos_pb2.StreamReposRequest(page_size=1))
    assert [repo.name async for message in stream for repo in message.repos] == [f"r-{offset}" for offset in range(8)]
    assert len(iam.requests) == 2


async def test_a_401_that_a_new_token_mended_is_not_the_answer_of_an_upstream_that_is_too_slow_then(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance
) -> None:
    upstream.play(answer(401), (Act.STALL,))
    served = await serve(timeout="1h")
    failing = asyncio.ensure_future(served.fail())
    await upstream.all_arrived(2)
    advance(HOUR)
    assert (await failing).reason == "UPSTREAM_TIMEOUT"


async def test_a_401_that_a_new_token_mended_is_not_the_answer_where_the_queue_is_full_then(
    serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream
) -> None:
    may_sign_in, may_answer = asyncio.Event(), asyncio.Event()
    iam.play(issued("first"), (may_sign_in, issued("second")))
    upstream.play(answer(401), (may_answer, page("[]")))
    served = await serve(max_in_flight=1, prefetch=1, max_queue=0)
    failing = asyncio.ensure_future(served.fail("rejected"))
    await iam.all_arrived(2)
    other = served.list("other")
    await upstream.all_arrived(2)
    may_sign_in.set()
    assert (await failing).reason == "GATEWAY_OVERLOADED"
    may_answer.set()
    await other


@any_rejection
async def test_a_new_token_is_rejected_without_a_third_request_or_a_third_token(
    serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "PACE", 1000.0)
    upstream.play(answer(401, body))
    served = await serve()
    await rejected(served.list())
    assert tokens_at(upstream) == ["first", "second"]
    for _ in range(3):
        await rejected(served.list())
    assert tokens_at(upstream)[2:] == ["second"] * 3
    assert len(iam.requests) == 2


@pytest.mark.usefixtures("_at_any_pace")
async def test_once_the_pace_allows_it_a_token_is_renewed_again(
    serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream
) -> None:
    upstream.play((good("third"),))
    served = await serve()
    await rejected(served.list())
    await served.list()
    assert tokens_at(upstream) == ["first", "second", "second", "third"]
    assert len(iam.requests) == 3


@pytest.mark.parametrize("status", [400, 403, 404, 500])
@pytest.mark.parametrize("code", ["APIGW.0301", "APIGW.0307", "SVCSTG.SWR.4010000", "SVCSTG.SWR.4031043"])
async def test_no_other_status_renews_whatever_it_says(
    serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream, status: int, code: str
) -> None:
    upstream.play(answer(status, apigw("token expires", code)))
    served = await serve(retries=0)
    assert (await failure_of(served.list())).info.metadata["httpStatus"] == str(status)
    assert (len(upstream.requests), len(iam.requests)) == (1, 1)


async def test_a_401_that_is_of_permissions_is_told_as_such_where_iam_has_no_new_token(
    serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream
) -> None:
    iam.play(issued("first"), answer(500))
    upstream.play(answer(401, apigw("cross-account", "SVCSTG.SWR.4011044")))
    served = await serve()
    assert (await failure_of(served.list())).reason == "UPSTREAM_PERMISSION_DENIED"
    assert (len(upstream.requests), len(iam.requests)) == (1, 2)


@pytest.mark.usefixtures("_at_any_pace")
async def test_a_late_rejection_of_an_older_token_does_not_renew_again(
    serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream
) -> None:
    late = asyncio.Event()
    upstream.play((late, good("second")), (good("second"),))
    served = await serve()
    slow = served.list()
    await upstream.all_arrived(1)
    await served.list()
    late.set()
    await slow
    assert tokens_at(upstream) == ["first", "first", "second", "second"]
    assert len(iam.requests) == 2


@pytest.mark.usefixtures("_tried_again_late")
async def test_a_rejected_token_that_cannot_be_renewed_is_no_reason_to_refuse_all_calls(
    serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream
) -> None:
    iam.play(issued("first"), answer(401))
    upstream.play(answer(401, apigw("token expires")), answer(401, apigw("token expires")), page("[]"))
    served = await serve(**OPERATED)
    for _ in range(2):
        await unavailable(served.list())
    await served.list()
    assert tokens_at(upstream) == ["first"] * 3
    assert len(iam.requests) == 2
    assert await served.ask("/readyz") == (200, "ok\nupstream circuit: closed\n")


# IAM has none

FAULTS: dict[str, tuple[Script | bytes, str]] = {
    "refused": (answer(401, '{"error": {"code": 401, "title": "Unauthorized"}}'), "UPSTREAM_CREDENTIAL_REJECTED"),
    "failed": (answer(500), "UPSTREAM_INTERNAL"),
    "no answer": ((Act.STALL,), "UPSTREAM_TIMEOUT"),
    "no end": ((issued("first")[:-1], Act.STALL), "UPSTREAM_TIMEOUT"),
    "cut off": ((issued("first")[:-1], Act.CLOSE), "UPSTREAM_CONNECTION_LOST"),
    "reset": ((Act.RESET,), "UPSTREAM_CONNECTION_LOST"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "UPSTREAM_PROTOCOL"),
    "garbage": (answer(201, "<html>", {"X-Subject-Token": "first"}), "UPSTREAM_MALFORMED_RESPONSE"),
    "no header": (issued("first").replace(b"X-Subject-Token", b"X-Other"), "UPSTREAM_MALFORMED_RESPONSE"),
    "past its end": (issued("first", "2025-12-31T00:00:00Z"), "UPSTREAM_MALFORMED_RESPONSE"),
    "nothing with success": (answer(204), "UPSTREAM_MALFORMED_RESPONSE"),
    "another status": (issued("first").replace(b" 201 ", b" 200 "), "UPSTREAM_MALFORMED_RESPONSE"),
    "too large": (issued("first", spaces=2**20), "UPSTREAM_MALFORMED_RESPONSE"),
    "redirect": (answer(307, b"", {"Location": "/v3/elsewhere"}), "UPSTREAM_REDIRECT"),
}


@pytest.mark.parametrize(("script", "reason"), FAULTS.values(), ids=FAULTS)
async def test_whatever_iam_does_calls_are_told_that_there_is_no_credential(
    serve: Serve,
    upstream: ScriptedUpstream,
    iam: ScriptedUpstream,
    script: Script | bytes,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if isinstance(script, tuple) and Act.STALL in script:
        monkeypatch.setattr("gateway.upstream.iam_client.TIMEOUT", 0.3)
    iam.play(script)
    served = await serve()
    await unavailable(served.list())
    await iam.all_arrived(1)  # on a busy machine the time may end before a request has left; another one follows
    assert upstream.requests == []
    assert {request.target for request in iam.requests} == {"/v3/auth/tokens"}
    assert renewals(served).keys() == {reason}
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert told
    assert all(line.startswith(f"no token from IAM: {reason} ") for line in told)
    assert not re.search("list of repositories|the upstream", "".join(told))


async def test_a_refusal_of_iams_is_one_though_its_body_never_ends(
    serve: Serve, iam: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.upstream.iam_client.TIMEOUT", 4.0)
    monkeypatch.setattr("gateway.upstream.bodies.ERROR_BODY_TIMEOUT", 3600.0)
    iam.play((b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\n\r\n", Act.STALL))
    served = await serve()
    await unavailable(served.list())
    assert renewals(served).keys() == {"UPSTREAM_CREDENTIAL_REJECTED"}


async def test_nobody_listens_where_iam_should_be(serve: Serve) -> None:
    with held_port() as port:
        served = await serve(iam_url=f"http://127.0.0.1:{port}")
        await unavailable(served.list())
        assert renewals(served).keys() == {"UPSTREAM_UNREACHABLE"}


@pytest.mark.usefixtures("_tried_again_late")
async def test_without_a_token_calls_are_refused_at_once_and_told_when_to_come_again(
    serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream
) -> None:
    iam.play(answer(401))
    served = await serve()
    for _ in range(10):
        failure = await unavailable(served.list())
        retry = failure.details["RetryInfo"]
        assert isinstance(retry, error_details_pb2.RetryInfo)
        assert 0 < retry.retry_delay.seconds <= credentials.MAX_WAIT
    assert upstream.requests == []
    assert len(iam.requests) == 1
    assert (await watch(served).read()).status == NOT_SERVING


@pytest.mark.usefixtures("_tried_again_at_once")
async def test_the_gateway_recovers_by_itself(
    serve: Serve, iam: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    iam.play(answer(500), (Act.CLOSE,), issued("first"))
    served = await serve()
    health = watch(served)
    while (await health.read()).status != SERVING:
        pass
    await served.list()
    assert renewals(served) == {"UPSTREAM_INTERNAL": 1, "UPSTREAM_CONNECTION_LOST": 1, "ok": 1}
    assert caplog.text.count("; calls are refused") == 2


# It ends


@pytest.mark.usefixtures("_renewed_at_once", "_tried_again_at_once")
async def test_a_token_stays_in_use_while_its_renewal_fails(
    serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    iam.play(issued("first"), answer(500), (Act.STALL,))
    served = await serve(**OPERATED)
    await iam.all_arrived(3)
    await served.list()
    assert tokens_at(upstream) == ["first"]
    assert renewals(served) == {"ok": 1, "UPSTREAM_INTERNAL": 1}
    assert await served.ask("/readyz") == (200, "ok\nupstream circuit: closed\n")
    assert "; the last one stays in use" in caplog.text


@pytest.mark.usefixtures("_renewed_at_once", "_tried_again_late")
async def test_a_token_that_ends_without_a_new_one_is_used_no_more(
    serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream, advance: Advance
) -> None:
    release = asyncio.Event()
    iam.play((release, issued("first", "2026-01-01T01:00:00Z")), answer(401))
    served = await serve()
    health = watch(served)
    assert (await health.read()).status == NOT_SERVING
    release.set()
    assert (await health.read()).status == SERVING
    await iam.all_arrived(2)
    advance(HOUR)
    assert (await health.read()).status == NOT_SERVING
    await unavailable(served.list())
    assert upstream.requests == []


@dataclass
class Cloud:
    """The embedded upstream with its IAM, and how it answered by method."""

    door: Authenticator
    url: str = ""
    answers: list[tuple[str, int]] = field(default_factory=list)

    @web.middleware
    async def note(self, request: web.Request, handler: Any) -> web.StreamResponse:
        response: web.StreamResponse = await handler(request)
        self.answers.append((request.method, response.status))
        return response


@asynccontextmanager
async def cloud(rejection: Rejection | None = None, **access: Any) -> AsyncIterator[Cloud]:
    cloud = Cloud(Authenticator(Access(username=USERNAME, password=PASSWORD, **access)))
    app = make_app(default_repositories(3), Faults(rejection=rejection), cloud.door)
    app.middlewares.append(cloud.note)
    async with running(app) as cloud.url:
        yield cloud


async def test_why_iam_is_not_reached_is_told_in_the_systems_words_at_debug(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "gateway")
    with held_port() as port:
        served = await serve(iam_url=f"http://127.0.0.1:{port}")
        await unavailable(served.list())
    (line,) = {message for message in caplog.messages if message.startswith("no connection to IAM (connect): ")}
    assert "refused" in line.lower() or "connect call failed" in line.lower()


async def test_a_token_of_20_000_characters_signs_in(serve: Serve) -> None:
    async with cloud(token_size=20_000) as here:
        served = await serve(upstream_url=here.url, iam_url=here.url)
        assert len((await served.list()).repos) == 3


@pytest.mark.parametrize("rejection", [None, *Rejection])
async def test_the_embedded_iam_replaces_what_it_revoked(serve: Serve, rejection: Rejection | None) -> None:
    async with cloud(rejection) as here:
        served = await serve(upstream_url=here.url, iam_url=here.url)
        await served.list()
        here.door.revoke()
        await served.list()
        assert here.answers == [("POST", 201), ("GET", 200), ("GET", 401), ("POST", 201), ("GET", 200)]


async def test_the_embedded_iam_refuses_a_wrong_password(serve: Serve) -> None:
    async with cloud() as here:
        served = await serve(upstream_url=here.url, iam_url=here.url, iam_password="wrong")
        await unavailable(served.list())
        assert here.answers == [("POST", 401)]


async def test_calls_see_nothing_of_a_renewal_ahead_of_the_end(serve: Serve, advance: Advance) -> None:
    async with cloud(token_life=HOUR) as here:
        served = await serve(upstream_url=here.url, iam_url=here.url)
        await served.list()
        advance(0.86 * HOUR)
        while here.answers.count(("POST", 201)) < 2:
            await served.list()
        await served.list()
        assert {*here.answers} == {("POST", 201), ("GET", 200)}


# Nothing of a secret is shown


async def test_the_password_is_never_shown(
    serve: Serve, iam: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    iam.play(answer(401, json.dumps({"error": {"message": f"no such user as {PASSWORD}", "code": 401}})))
    failure = await unavailable((await serve()).list())
    assert "no such user as ***" in caplog.text
    assert "canary" not in f"{failure} {caplog.text}"


async def test_a_token_is_never_shown(
    serve: Serve, upstream: ScriptedUpstream, iam: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    iam.play(issued("canary-1"), issued("canary-2"))
    upstream.play((lambda request: answer(401, apigw(f"token {request.headers['x-auth-token']} expires")),))
    failure = await rejected((await serve()).list())
    assert tokens_at(upstream) == ["canary-1", "canary-2"]
    assert "token *** expires" in failure.message
    assert "canary" not in f"{failure} {caplog.text}"
