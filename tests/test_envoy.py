"""Behind a real Envoy: the configurations of deploy/envoy, hop by hop."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import aiohttp
import grpc
import pytest
from google.rpc.status_pb2 import Status

from certificates import CA, OTHER_CA, Folder, Pair, client_context, issue, issue_named, pem_of
from conftest import Serve
from envoy import BINARY, CALLER, EDGE, GATEWAY, SHIPPED, Envoy, channel_to, envoy
from failures import failure_of
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from patience import until
from scripted_upstream import ScriptedUpstream, answer, page, scripted_upstream

CONFIGURATIONS = sorted(path.name for path in SHIPPED.glob("*.yaml"))
REQUEST = repos_pb2.ListReposRequest()
CONSOLE = "https://console.corp.example"
METHOD = "/gateway.swr.v1.RepoService/ListRepos"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACESTATE = "vendor=00f067aa0ba902b7"


@pytest.fixture
def tls(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "gateway", cert=GATEWAY.chain, key=GATEWAY.key, ca=pem_of(CA))


@pytest.fixture
def serve(serve: Serve) -> Serve:
    """Start a gateway that sends requests again and lets calls share them, as it does by default."""
    return partial(serve, retries=2, coalesce=True)


@pytest.fixture
def serve_tls(serve: Serve, tls: Folder) -> Serve:
    """Start a gateway as the head of load-balancer.yaml has it."""
    pair = {"tls_cert": tls.path("cert"), "tls_key": tls.path("key")}
    return partial(serve, **pair, tls_client_ca=tls.path("ca"), tls_allowed_sans="edge.corp.example")


@pytest.fixture
async def edge(serve_tls: Serve, tmp_path: Path) -> AsyncIterator[Envoy]:
    """A load balancer in front of two gateways."""
    gateways = [(await serve_tls()).address for _ in range(2)]
    async with envoy("load-balancer", tmp_path / "edge", EDGE, gateways) as edge:
        await edge.until_healthy(*gateways)
        yield edge


@pytest.fixture
async def edge_channel(edge: Envoy) -> AsyncIterator[grpc.aio.Channel]:
    async with channel_to(edge.address, name="edge.corp.example") as channel:
        yield channel


@pytest.fixture
async def browser(edge: Envoy) -> AsyncIterator[aiohttp.ClientSession]:
    """What a script in a browser has: HTTP, from a page of the console."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=pem_of(CA).decode()))
    headers = {"Origin": CONSOLE}
    async with aiohttp.ClientSession(f"https://{edge.address}", connector=connector, headers=headers) as session:
        yield session


@pytest.fixture
async def sidecar(serve: Serve, tmp_path: Path) -> AsyncIterator[Envoy]:
    """The Envoy beside a gateway that speaks plain text."""
    async with envoy("sidecar", tmp_path / "sidecar", GATEWAY, [(await serve()).address]) as running:
        yield running


def validate(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    command = [str(BINARY), "--mode", "validate", "-c", name]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration_is_valid_where_it_lies_and_uses_nothing_deprecated(name: str) -> None:
    validated = validate(SHIPPED, name)
    assert validated.returncode == 0
    assert "eprecated" not in validated.stderr


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_misspelt_field_would_be_found(name: str, tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "envoy")
    file = tmp_path / "envoy" / name
    file.write_text(file.read_text().replace("connect_timeout:", "conect_timeout:"))
    validated = validate(file.parent, name)
    assert validated.returncode == 1
    assert "conect_timeout" in validated.stderr


@pytest.mark.parametrize("request_id", ["Billing-4711.a", "0af76519-16cd-43dd-8448-eb211c80319c"])
async def test_a_call_passes_two_envoys_with_mutual_tls_and_keeps_its_ids(
    request_id: str, sidecar: Envoy, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.play(page('[{"name":"nginx"}]'))
    ids = {"x-request-id": request_id, "traceparent": TRACEPARENT, "tracestate": TRACESTATE}
    async with envoy("client-sidecar", tmp_path / "client", CALLER, [sidecar.address]) as client:
        await client.until_healthy(sidecar.address)
        async with channel_to(client.address) as channel:
            call = RepoServiceStub(channel).ListRepos(REQUEST, metadata=tuple(ids.items()))
            assert (await call).repos[0].name == "nginx"
            assert dict(await call.trailing_metadata())["x-request-id"] == request_id
    (arrived,) = upstream.requests
    assert {key: arrived.headers.get(key) for key in ids} == ids
    assert await sidecar.stat(r"listener\..*\.ssl\.no_certificate") == 0


@pytest.mark.parametrize(
    ("caller", "counted"),
    [
        pytest.param(None, "fail_verify_no_cert", id="no certificate"),
        pytest.param(issue("caller", authority=OTHER_CA), "fail_verify_error", id="another authority"),
        pytest.param(issue_named("URI:spiffe://corp.example.evil/api"), "fail_verify_san", id="another trust domain"),
        pytest.param(GATEWAY, "fail_verify_san", id="another name"),
    ],
)
async def test_who_is_no_caller_is_refused_at_the_hop(
    caller: Pair | None, counted: str, sidecar: Envoy, upstream: ScriptedUpstream
) -> None:
    async with channel_to(sidecar.address, caller, name="gateway.corp.example") as channel:
        failure = await failure_of(RepoServiceStub(channel).ListRepos(REQUEST))
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    await sidecar.until_counted(rf"listener\..*\.ssl\.{counted}")
    assert upstream.requests == []


async def test_a_gateway_that_shows_another_name_gets_no_calls(
    serve: Serve, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """The authority vouches for callers as well: a caller must not be taken for a gateway."""
    async with (
        envoy("sidecar", tmp_path / "sidecar", CALLER, [(await serve()).address]) as sidecar,
        envoy("client-sidecar", tmp_path / "client", CALLER, [sidecar.address]) as client,
        channel_to(client.address) as channel,
    ):
        failure = await failure_of(RepoServiceStub(channel).ListRepos(REQUEST))
        await client.until_counted(r"cluster\.gateways\.ssl\.fail_verify_san")
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert upstream.requests == []


async def test_a_new_certificate_is_shown_without_a_restart(edge: Envoy) -> None:
    host, _, port = edge.address.rpartition(":")
    new = issue("edge.corp.example")

    async def is_shown() -> bool:
        _, writer = await asyncio.open_connection(
            host, int(port), ssl=client_context(), server_hostname="edge.corp.example"
        )
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
        return bool(shown == new.der)

    assert not await is_shown()
    edge.tls.put(**{"tls.crt": new.chain, "tls.key": new.key})
    await until(is_shown)


async def test_reflection_is_nobodys_business_outside(edge_channel: Any) -> None:
    method = edge_channel.unary_unary("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    assert (await failure_of(method(b""))).code is grpc.StatusCode.UNIMPLEMENTED


async def test_an_upstream_that_fails_once_is_asked_twice(
    edge_channel: grpc.aio.Channel, upstream: ScriptedUpstream
) -> None:
    upstream.play(answer(503), page('[{"name":"nginx"}]'))
    assert (await RepoServiceStub(edge_channel).ListRepos(REQUEST)).repos[0].name == "nginx"
    assert len(upstream.requests) == 2


async def test_an_upstream_that_fails_is_not_asked_three_times_three(
    edge: Envoy, edge_channel: grpc.aio.Channel, upstream: ScriptedUpstream
) -> None:
    upstream.play(answer(503))
    failure = await failure_of(RepoServiceStub(edge_channel).ListRepos(REQUEST))
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE")
    assert len(upstream.requests) == 3
    assert await edge.stat(r"cluster\.gateways\.upstream_rq_retry") == 0


async def test_a_sick_upstream_takes_no_gateway_out(
    edge: Envoy, edge_channel: grpc.aio.Channel, upstream: ScriptedUpstream
) -> None:
    upstream.play(answer(500))
    stub = RepoServiceStub(edge_channel)
    failures = [await failure_of(stub.ListRepos(REQUEST)) for _ in range(20)]
    assert {failure.code for failure in failures} <= {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE}
    assert await edge.stat(r"cluster\.gateways\.outlier_detection\.ejections_enforced_total") == 0
    assert await edge.stat(r"cluster\.gateways\.membership_healthy") == 2


async def test_a_gateway_gets_calls_while_it_has_a_token_and_does_not_drain(serve_tls: Serve, tmp_path: Path) -> None:
    issued = json.dumps({"token": {"issued_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-02T00:00:00Z"}})
    user = {"iam_username": "robot", "iam_password": "x", "iam_domain": "acme", "iam_project": "cn-north-4"}
    may_answer = asyncio.Event()
    async with scripted_upstream() as iam:
        iam.play((may_answer, answer(201, issued, {"X-Subject-Token": "first"})))
        ready = await serve_tls()
        signs_in = await serve_tls(auth="iam", iam_url=iam.url, drain_delay="1h", **user)
        gateways = [ready.address, signs_in.address]
        async with envoy("load-balancer", tmp_path / "edge", EDGE, gateways) as edge:
            await edge.until_healthy(ready.address)
            may_answer.set()
            await edge.until_healthy(*gateways)
            draining = asyncio.create_task(signs_in.drain())
            await edge.until_healthy(ready.address)
            draining.cancel()
            with pytest.raises(asyncio.CancelledError):
                await draining


def framed(message: bytes, flags: int = 0) -> bytes:
    return struct.pack(">BI", flags, len(message)) + message


def frames_of(body: bytes) -> list[tuple[int, bytes]]:
    frames = []
    while body:
        flags, size = struct.unpack(">BI", body[:5])
        frames.append((flags, body[5 : 5 + size]))
        assert len(frames[-1][1]) == size
        body = body[5 + size :]
    return frames


def post(browser: aiohttp.ClientSession, message: repos_pb2.ListReposRequest) -> Any:
    headers = {"Content-Type": "application/grpc-web+proto", "X-Grpc-Web": "1", "X-Request-Id": "web-1"}
    body = framed(message.SerializeToString())
    return browser.post(METHOD, data=body, headers=headers, server_hostname="edge.corp.example")


async def test_grpc_web_gets_a_message_and_trailers(browser: aiohttp.ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.play(page('[{"name":"nginx"}]', {"Content-Range": "0-0/1"}))
    async with post(browser, repos_pb2.ListReposRequest(offset=0, limit=1)) as response:
        (kind, message), (trailers_kind, trailers) = frames_of(await response.read())
    assert (response.status, response.content_type) == (200, "application/grpc-web+proto")
    assert response.headers["Access-Control-Allow-Origin"] == CONSOLE
    assert (kind, trailers_kind) == (0, 0x80)
    assert repos_pb2.ListReposResponse.FromString(message).content_range.total == 1
    lines = dict(line.split(":", 1) for line in trailers.decode().splitlines())
    assert (lines["grpc-status"], lines["x-request-id"]) == ("0", "web-1")
    assert upstream.requests[0].headers["x-request-id"] == "web-1"


async def test_grpc_web_gets_an_error_with_its_details(
    browser: aiohttp.ClientSession, upstream: ScriptedUpstream
) -> None:
    async with post(browser, repos_pb2.ListReposRequest(limit=0)) as response:
        headers = response.headers
        assert await response.read() == b""
    exposed = set(headers["Access-Control-Expose-Headers"].split(","))
    assert {"grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id"} <= exposed
    assert headers["grpc-status"] == str(grpc.StatusCode.INVALID_ARGUMENT.value[0])
    encoded = headers["grpc-status-details-bin"]
    status = Status.FromString(base64.b64decode(encoded + "=" * (-len(encoded) % 4)))
    assert status.message == unquote(headers["grpc-message"])
    assert [detail.TypeName() for detail in status.details][:2] == ["google.rpc.ErrorInfo", "google.rpc.BadRequest"]
    assert upstream.requests == []


async def test_a_preflight_is_answered_at_the_edge(browser: aiohttp.ClientSession) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-auth-token,x-grpc-web"}
    async with browser.options(METHOD, headers=asked, server_hostname="edge.corp.example") as response:
        headers = response.headers
    assert (response.status, headers["Access-Control-Allow-Origin"]) == (200, CONSOLE)
    assert "POST" in headers["Access-Control-Allow-Methods"]
    assert {"x-auth-token", "x-grpc-web", "content-type"} <= set(headers["Access-Control-Allow-Headers"].split(","))


async def test_a_preflight_from_another_page_is_not_granted(browser: aiohttp.ClientSession) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Origin": "https://evil.example"}
    async with browser.options(METHOD, headers=asked, server_hostname="edge.corp.example") as response:
        assert "Access-Control-Allow-Origin" not in response.headers
