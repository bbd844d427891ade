"""Signing in by access key: each request through the gateway, and the embedded upstream that checks it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc
import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from conftest import Serve
from failures import Failure, failure_of
from gateway.core.filter import Dialect
from gateway.core.signature import sign, write_date
from gateway.credentials.access_key import AccessKey, AccessKeySigner
from gateway.simulator.access import Access, Authenticator
from gateway.simulator.app import make_app, running
from gateway.simulator.data import Repository
from gateway.swr.v1 import repos_pb2
from scripted_upstream import Request, ScriptedUpstream, answer

NAME, SECRET = "AKcanary0815", "SKcanary4711"
KEY = {"access_key": NAME, "secret_key": SECRET}
AKSK = {"auth": "aksk", **KEY}
REQUEST = repos_pb2.ListReposRequest()
REPOS = "/v2/manage/repos"
MINUTE = 60.0


@dataclass
class Door:
    """The embedded upstream, which knows one key: its clock, and the status of every request to it."""

    url: str = ""
    opened: float = field(default_factory=time.time)
    ahead: float = 0.0
    statuses: list[int] = field(default_factory=list)

    def now(self) -> float:
        return self.opened + self.ahead

    @web.middleware
    async def note(self, request: web.Request, handler: Any) -> web.StreamResponse:
        response: web.StreamResponse = await handler(request)
        self.statuses.append(response.status)
        return response


def repositories(*names: str) -> list[Repository]:
    return [Repository({"name": name, "namespace": "组织 1", "category": "linux"}) for name in names]


@asynccontextmanager
async def locked(*names: str, **access: Any) -> AsyncIterator[Door]:
    """Run an embedded upstream that lets in who signs with the key, with repositories of these names."""
    door = Door()
    app = make_app(repositories(*(names or ("nginx",))), authenticator=Authenticator(Access(**KEY | access), door.now))
    app.middlewares.append(door.note)
    async with running(app) as door.url:
        yield door


async def rejection_of(stub: Any) -> Failure:
    failure = await failure_of(stub.ListRepos(REQUEST))
    assert failure.code is grpc.StatusCode.UNAUTHENTICATED
    assert failure.reason == "UPSTREAM_CREDENTIAL_REJECTED"
    return failure


# Through the gateway

LEGAL = [
    *(
        "team/backend/api",
        "a b",
        "100%",
        "%2F",
        "%",
        "a+b",
        "镜像/仓库",
        "é",
        "🐳",
        "a:b",
        "a&b=c",
        "a?b#c",
        "~a.b_c-d",
    ),
    *("*", "(a)", "!", "a,b;c", "$a", "[a]", "{a}", "@", "<a>", "\\", "^`", "a\u3000b"),
]


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("value", LEGAL)
async def test_whatever_is_asked_for_is_signed_as_it_is_sent(serve: Serve, dialect: Dialect, value: str) -> None:
    async with locked("other", value) as door:
        stub = (await serve(upstream_url=door.url, **AKSK, dialect=dialect)).stub
        wanted = repos_pb2.RepoFilter(namespace="组织 1", name=value, category="linux")
        reply = await stub.ListRepos(repos_pb2.ListReposRequest(filter=wanted, offset=0, limit=10))
    assert [repo.name for repo in reply.repos] == [value]
    assert door.statuses == [200]


@pytest.mark.parametrize("dialect", Dialect)
async def test_every_page_of_a_stream_is_signed(serve: Serve, dialect: Dialect) -> None:
    names = [f"r-{number}" for number in range(50)]
    async with locked(*names) as door:
        stub = (await serve(upstream_url=door.url, **AKSK, dialect=dialect)).stub
        call = stub.StreamRepos(repos_pb2.StreamReposRequest(page_size=10))
        assert [repo.name async for message in call for repo in message.repos] == names
    assert door.statuses == [200] * 5


async def test_a_temporary_key_brings_its_security_token(serve: Serve) -> None:
    token = "t+/=" * 500
    async with locked(security_token=token) as door:
        stub = (await serve(upstream_url=door.url, **AKSK, security_token=token)).stub
        assert len((await stub.ListRepos(REQUEST)).repos) == 1
        for other in ({}, {"security_token": "other"}):
            failure = await rejection_of((await serve(upstream_url=door.url, **AKSK, **other)).stub)
            assert "security token" in failure.message


@pytest.mark.parametrize(
    ("more", "names"),
    [
        pytest.param({}, "host;x-sdk-date", id="key"),
        pytest.param({"project_id": "p-1"}, "host;x-project-id;x-sdk-date", id="project"),
        pytest.param({"security_token": "t=="}, "host;x-sdk-date;x-security-token", id="security token"),
    ],
)
async def test_what_is_sent_is_what_is_signed(
    serve: Serve, upstream: ScriptedUpstream, more: dict[str, str], names: str
) -> None:
    stub = (await serve(**AKSK, **more)).stub
    await stub.ListRepos(repos_pb2.ListReposRequest(filter=repos_pb2.RepoFilter(name="a b/镜")))
    (request,) = upstream.requests
    sent = {name: request.headers[name] for name in names.split(";")}
    assert sent["host"] == upstream.url.removeprefix("http://")
    assert {
        "project_id": sent.get("x-project-id"),
        "security_token": sent.get("x-security-token"),
    }.items() >= more.items()
    signature = sign(SECRET, request.method, request.target, sent)
    assert request.headers["authorization"] == signature.authorization(NAME)
    assert f"SignedHeaders={names}, " in request.headers["authorization"]
    assert "x-auth-token" not in request.headers


async def test_the_date_is_that_of_the_request(serve: Serve, upstream: ScriptedUpstream) -> None:
    stub = (await serve(**AKSK)).stub
    before = time.time()
    await stub.ListRepos(REQUEST)
    date = upstream.requests[0].headers["x-sdk-date"]
    assert write_date(before) <= date <= write_date(time.time())


async def test_a_wrong_secret_is_unauthenticated_after_one_request(serve: Serve) -> None:
    async with locked() as door:
        stub = (await serve(upstream_url=door.url, **AKSK | {"secret_key": "wrong"})).stub
        assert (await rejection_of(stub)).info.metadata["upstreamCode"] == "APIGW.0301"
        assert door.statuses == [401]


async def test_a_signature_that_is_called_expired_is_not_sent_again(serve: Serve) -> None:
    async with locked() as door:
        door.ahead = 16 * MINUTE
        failure = await rejection_of((await serve(upstream_url=door.url, **AKSK)).stub)
        assert "signature expired" in failure.message
        assert door.statuses == [401]


async def test_a_key_that_signed_wrongly_five_times_is_locked_for_five_minutes(serve: Serve) -> None:
    async with locked() as door:
        right = (await serve(upstream_url=door.url, **AKSK)).stub
        wrong = (await serve(upstream_url=door.url, **AKSK | {"secret_key": "wrong"})).stub
        messages = [(await rejection_of(stub)).message for stub in (*[wrong] * 5, right)]
        assert ["verify" in message for message in messages] == [True] * 5 + [False]
        assert "reach the limit" in messages[-1]
        door.ahead = 4 * MINUTE
        assert "reach the limit" in (await rejection_of(right)).message
        door.ahead = 5 * MINUTE + 1
        assert len((await right.ListRepos(REQUEST)).repos) == 1
        assert len(door.statuses) == 8


async def test_a_key_is_never_shown(serve: Serve, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture) -> None:
    def repeat(request: Request) -> bytes:
        told = f"{request.headers['authorization']} {request.headers['x-security-token']}"
        return answer(401, f'{{"error_code": "APIGW.0301", "error_msg": "bad: {told}"}}')

    caplog.set_level(logging.DEBUG)
    upstream.play((repeat,))
    failure = await rejection_of((await serve(**AKSK, security_token="STcanary")).stub)
    assert failure.message.startswith("bad: SDK-HMAC-SHA256 Access=***, ")
    key = AccessKey(NAME, SECRET, "STcanary")
    signer = AccessKeySigner(key, upstream.url)
    shown = f"{failure} {caplog.text} {key!r} {signer!r} {await signer.auth_headers(REPOS, {})!r}"
    assert "canary" not in shown
    assert request_signature(upstream) not in shown


def request_signature(upstream: ScriptedUpstream) -> str:
    return upstream.requests[0].headers["authorization"].rpartition("=")[2]


# The signer and the authenticator, face to face


async def status_of(url: str, headers: Mapping[str, str], target: str = REPOS) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.get(URL(url + target, encoded=True), headers=headers) as response,
    ):
        return response.status


def signed(headers: Mapping[str, str], target: str = REPOS, **other: str) -> dict[str, str]:
    """Sign these headers and the date, and nothing else."""
    told = {"name": NAME, "secret": SECRET, "date": write_date(time.time()), **other}
    sent = {**headers, "X-Sdk-Date": told["date"]}
    return {**sent, "Authorization": sign(told["secret"], "GET", target, sent).authorization(told["name"])}


@pytest.mark.parametrize("minutes", [-16, -14, 0, 14, 16])
async def test_a_clock_may_be_off_by_less_than_15_minutes(minutes: int) -> None:
    async with locked() as door:
        signer = AccessKeySigner(AccessKey(NAME, SECRET), door.url, lambda: door.opened + minutes * MINUTE)
        auth_headers = await signer.auth_headers(REPOS, {})
        assert await status_of(door.url, auth_headers.headers) == (200 if abs(minutes) < 15 else 401)


async def test_the_host_need_not_be_signed() -> None:
    async with locked() as door:
        assert await status_of(door.url, signed({})) == 200
        assert await status_of(door.url, signed({"Host": "elsewhere"})) == 200


async def test_a_header_that_is_not_signed_may_change_and_a_signed_one_may_not() -> None:
    async with locked() as door:
        headers = signed({"X-Note": "a"})
        assert await status_of(door.url, {**headers, "X-Other": "b"}) == 200
        assert await status_of(door.url, {**headers, "X-Note": "b"}) == 401


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (f"{REPOS}?offset=0&limit=1", 200),
        (f"{REPOS}?limit=1&offset=0", 200),
        (f"{REPOS}?limit=%31&offset=0", 200),
        (f"{REPOS}?offset=0&limit=2", 401),
        (f"{REPOS}?offset=0&limit=1&name=a", 401),
        (REPOS, 401),
    ],
)
async def test_the_query_is_signed_in_whatever_order_it_comes(target: str, status: int) -> None:
    async with locked() as door:
        assert await status_of(door.url, signed({}, f"{REPOS}?offset=0&limit=1"), target) == status


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"Authorization": "Bearer x"}, id="another scheme"),
        pytest.param({"Authorization": "SDK-HMAC-SHA256"}, id="no parts"),
        pytest.param(signed({}) | {"X-Sdk-Date": ""}, id="no date"),
        pytest.param(signed({}, date="20260115083000"), id="a date in other words"),
        pytest.param(signed({}, secret="wrong"), id="a wrong secret"),
        pytest.param(signed({}, name="AKother"), id="another key"),
        pytest.param(signed({"X-Security-Token": "t"}), id="a security token that is not the key's"),
        pytest.param({"X-Auth-Token": NAME}, id="the key as a token"),
    ],
)
async def test_who_does_not_sign_is_not_let_in(headers: dict[str, str]) -> None:
    async with locked() as door:
        assert await status_of(door.url, headers) == 401


async def test_only_failures_in_a_row_lock_the_key() -> None:
    async with locked() as door:
        for _ in range(3):
            for _ in range(4):
                assert await status_of(door.url, signed({}, secret="wrong")) == 401
            assert await status_of(door.url, signed({})) == 200


async def test_others_are_let_in_by_token_while_the_key_is_locked() -> None:
    async with locked(token="right") as door:
        for _ in range(5):
            assert await status_of(door.url, signed({}, secret="wrong")) == 401
        assert await status_of(door.url, signed({})) == 401
        assert await status_of(door.url, {"X-Auth-Token": "right"}) == 200


PARTS = st.tuples(
    st.sampled_from([b"Access=", b"SignedHeaders=", b"Signature=", b"=", b""]),
    st.sampled_from(
        [NAME.encode(), b"x-sdk-date", b"x-sdk-date;host", b"X-Sdk-Date;;", b"x-sdk-date;x_y", b"\xff", b""]
    ),
).map(b"".join)
GARBLED = st.one_of(
    st.lists(PARTS, max_size=4).map(b", ".join),
    st.binary(max_size=40).filter(lambda value: not set(value) & set(b"\0\r\n")),
)


async def raw_status_of(url: str, headers: Mapping[str, bytes]) -> int:
    """Send headers as no well-behaved client does."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        lines = [f"GET {REPOS} HTTP/1.1".encode(), *(f"{name}: ".encode() + value for name, value in headers.items())]
        writer.write(b"\r\n".join([*lines, b"Host: h", b"Connection: close", b"", b""]))
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()


@given(GARBLED, st.none() | GARBLED)
@example(b"Access=%b, SignedHeaders=x-sdk-date, Signature=\xff" % NAME.encode(), None)
async def test_no_garbled_authorization_upsets_the_doorkeeper(garbled: bytes, date: bytes | None) -> None:
    told = write_date(time.time()).encode() if date is None else date
    headers = {"Authorization": b"SDK-HMAC-SHA256 " + garbled, "X-Sdk-Date": told}
    async with locked() as door:
        assert await raw_status_of(door.url, headers) in (400, 401)


async def test_bytes_that_are_no_text_are_no_token_and_sign_nothing() -> None:
    sent = signed({"X-Note": "镜像"})
    async with locked(token="right") as door:
        assert await raw_status_of(door.url, {"X-Auth-Token": b"\xff"}) == 401
        assert await raw_status_of(door.url, {name: value.encode() for name, value in sent.items()}) == 200
        assert await raw_status_of(door.url, {name: value.encode("gbk") for name, value in sent.items()}) == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"", 400, id="empty"),
        pytest.param(b"{", 400, id="not JSON"),
        pytest.param(b"[]", 400, id="a list"),
        pytest.param(b'{"auth": {"identity": {"password": {}}}}', 400, id="nobody"),
        pytest.param(
            b'{"auth": {"identity": {"password": {"user": {"name": "", "password": ""}}}}}', 401, id="no name"
        ),
        pytest.param(b'{"auth": {"identity": {"password": {"user": {"name": [], "password": 1}}}}}', 401, id="no text"),
    ],
)
async def test_nobody_gets_a_token_of_an_upstream_that_knows_no_user(body: bytes, status: int) -> None:
    async with (
        locked() as door,
        aiohttp.ClientSession() as session,
        session.post(f"{door.url}/v3/auth/tokens", data=body) as response,
    ):
        assert response.status == status
        assert "X-Subject-Token" not in response.headers
