"""Everything that an upstream can do to a client, played byte by byte, and what the caller is told of it."""

from __future__ import annotations

import asyncio
import gzip
import ssl

import aiohttp
import grpc
import pytest
import trustme

from conftest import Serve
from failures import failure_of
from gateway.core.status import find_cause, is_page
from gateway.metrics import Metrics
from gateway.swr.v1 import repos_pb2
from gateway.upstream import bodies
from gateway.upstream.client import UpstreamClient
from gateway.upstream.faults import to_gateway_error
from gateway.upstream.tls import UpstreamTls
from patience import HOUR, PATIENT, Advance
from ports import held_port
from scripted_upstream import Act, Script, ScriptedUpstream, answer, page
from stream_server import stream_server

REQUEST = repos_pb2.ListReposRequest()
JSON = {"Content-Type": "application/json"}

# More than all buffers on the way hold: what has been written of it, the gateway has read in part.
LARGE = b"[" + b" " * 20_000_000 + b"]"

FAULTS: dict[str, tuple[Script, str, str]] = {
    "closed on accept": ((Act.CLOSE,), "UPSTREAM_CONNECTION_LOST", "headers"),
    "reset before headers": ((Act.RESET,), "UPSTREAM_CONNECTION_LOST", "headers"),
    "half a status line": ((b"HTTP/1.1 20", Act.CLOSE), "UPSTREAM_CONNECTION_LOST", "headers"),
    "half a header": ((b"HTTP/1.1 200 OK\r\nContent-", Act.CLOSE), "UPSTREAM_CONNECTION_LOST", "headers"),
    "stalled before headers": ((Act.STALL,), "UPSTREAM_TIMEOUT", "headers"),
    "stalled in the body": ((page(LARGE)[:-1], Act.STALL), "UPSTREAM_TIMEOUT", "body"),
    "reset in the body": ((page("[]" * 999)[:-9], Act.RESET), "UPSTREAM_CONNECTION_LOST", "body"),
    "body shorter than promised": ((page("[]")[:-1], Act.CLOSE), "UPSTREAM_CONNECTION_LOST", "body"),
    "last chunk missing": (
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n", Act.CLOSE),
        "UPSTREAM_CONNECTION_LOST",
        "body",
    ),
    "no length and cut off": ((b"HTTP/1.1 200 OK\r\n\r\n[{", Act.CLOSE), "UPSTREAM_MALFORMED_RESPONSE", ""),
    "gzip that is none": ((page("[]", {"Content-Encoding": "gzip"}),), "UPSTREAM_CONNECTION_LOST", "body"),
    "gzip without its end": (
        (page(gzip.compress(b"[]")[:-1], {"Content-Encoding": "gzip"}),),
        "UPSTREAM_CONNECTION_LOST",
        "body",
    ),
    "gzip with something behind it": (
        (page(gzip.compress(b"[]") + b"\0[]", {"Content-Encoding": "gzip"}),),
        "UPSTREAM_CONNECTION_LOST",
        "body",
    ),
    "gzip of nothing": ((page("", {"Content-Encoding": "gzip"}),), "UPSTREAM_MALFORMED_RESPONSE", ""),
    "gzip in gzip": ((page("[]", {"Content-Encoding": "gzip, gzip"}),), "UPSTREAM_PROTOCOL", "body"),
    "encoding that was not asked for": ((page("[]", {"Content-Encoding": "compress"}),), "UPSTREAM_PROTOCOL", "body"),
    "deflate that was not asked for": ((page("[]", {"Content-Encoding": "deflate"}),), "UPSTREAM_PROTOCOL", "body"),
    "no HTTP at all": ((b"SSH-2.0-OpenSSH_9.2\r\n\r\n",), "UPSTREAM_PROTOCOL", "headers"),
    "header over the limit": ((page("[]", {"X": "x" * 70_000}),), "UPSTREAM_PROTOCOL", "headers"),
    "hundreds of headers": ((page("[]", {f"X-{n}": "x" for n in range(300)}),), "UPSTREAM_PROTOCOL", "headers"),
    "length and chunks": ((page("[]", {"Transfer-Encoding": "chunked"}),), "UPSTREAM_PROTOCOL", "headers"),
    "two lengths": ((page("[]", {"Content-length": "7"}),), "UPSTREAM_PROTOCOL", "headers"),
    "status 099": ((answer("099"),), "UPSTREAM_PROTOCOL", ""),
    "status 999": ((answer(999),), "UPSTREAM_PROTOCOL", ""),
}


@pytest.mark.parametrize(("script", "reason", "phase"), FAULTS.values(), ids=FAULTS)
async def test_a_fault_is_told_by_its_reason_and_phase(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance, script: Script, reason: str, phase: str
) -> None:
    upstream.play(script)
    call = (await serve(attempt_timeout="1h")).stub.ListRepos(REQUEST)
    if Act.STALL in script:
        await upstream.stalled.wait()
        advance(HOUR)
    failure = await failure_of(call)
    assert (failure.reason, failure.info.metadata["phase"]) == (reason, phase)
    assert failure.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL)


NAMED = {"X-Request-Id": "up-1"}
NO_PAGES: dict[str, tuple[Script, str]] = {
    "not JSON": ((page("<html>", NAMED),), "UPSTREAM_MALFORMED_RESPONSE"),
    "too large": ((page("[" + "{}," * 2000, NAMED),), "UPSTREAM_RESPONSE_TOO_LARGE"),
    "encoding that was not asked for": (
        (page("[]", {**NAMED, "Content-Encoding": "compress"}),),
        "UPSTREAM_PROTOCOL",
    ),
    "cut off": ((page("[]", NAMED)[:-1], Act.CLOSE), "UPSTREAM_CONNECTION_LOST"),
}


@pytest.mark.parametrize("method", ["ListRepos", "StreamRepos"])
@pytest.mark.parametrize(("script", "reason"), NO_PAGES.values(), ids=NO_PAGES)
async def test_an_answer_that_is_no_page_is_told_by_the_upstreams_name_of_the_request(
    serve: Serve, upstream: ScriptedUpstream, method: str, script: Script, reason: str
) -> None:
    upstream.play(script)
    stub = (await serve(max_response_bytes="1KiB")).stub
    is_stream = method == "StreamRepos"
    call = stub.StreamRepos(repos_pb2.StreamReposRequest()).read() if is_stream else stub.ListRepos(REQUEST)
    failure = await failure_of(call)
    assert (failure.reason, failure.upstream_request_id) == (reason, "up-1")


@pytest.mark.parametrize("limit", ["timeout", "attempt_timeout"])
async def test_an_answer_without_an_end_is_told_by_the_upstreams_name_of_the_request(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance, limit: str
) -> None:
    upstream.play((page(LARGE, NAMED)[:-1], Act.STALL))
    call = (await serve(**PATIENT | {limit: "1h"})).list()
    await upstream.stalled.wait()
    advance(HOUR)
    failure = await failure_of(call)
    assert (failure.reason, failure.upstream_request_id) == ("UPSTREAM_TIMEOUT", "up-1")


async def test_a_request_without_an_answer_is_not_told_by_the_name_of_the_one_before(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    upstream.play(answer(503, headers=NAMED), (Act.CLOSE,))
    failure = await (await serve(retries=1)).fail()
    assert (failure.reason, failure.upstream_request_id) == ("UPSTREAM_CONNECTION_LOST", "")


async def test_aiohttp_still_has_the_switch_for_its_own_second_send() -> None:
    tls = UpstreamTls(None, None, Metrics())
    client = UpstreamClient("http://localhost:1", tls, attempt_timeout=1, max_response_bytes=1)
    async with aiohttp.ClientSession() as fresh, client:
        assert fresh._retry_connection is True
        assert client._session._retry_connection is False


async def test_every_http_status_on_the_wire_is_the_cause_of_the_table(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    stub = (await serve()).stub
    for status in range(200, 600):
        if is_page(status):
            continue
        upstream.play(answer(status, b"" if status in (204, 304) else b"{}"))
        failure = await failure_of(stub.ListRepos(REQUEST))
        cause = find_cause(status)
        assert (failure.code.value[0], failure.reason, failure.message) == (cause.code, cause.reason, cause.message)
        assert failure.info.metadata["httpStatus"] == str(status)


async def test_a_partial_page_is_a_page(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(answer(206, '[{"name":"a"}]', JSON | {"Content-Range": "0-1/7"}))
    reply = await (await serve()).stub.ListRepos(REQUEST)
    assert (reply.repos[0].name, reply.content_range.total) == ("a", 7)


async def test_an_informational_answer_is_passed_over(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play((b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", page('[{"name":"a"}]')))
    reply = await (await serve()).stub.ListRepos(REQUEST)
    assert reply.repos[0].name == "a"


async def test_a_header_of_a_tokens_size_is_no_trouble(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(page('[{"name":"a"}]', {"X-Subject-Token": "t" * 20_000}))
    reply = await (await serve()).stub.ListRepos(REQUEST)
    assert reply.repos[0].name == "a"


BODY = b'[{"name":"a"}]'
PACKED = gzip.compress(BODY)
GZIPS: dict[str, tuple[str, tuple[bytes, ...]]] = {
    "gzip": ("gzip", (PACKED,)),
    "its old name": ("x-gzip", (PACKED,)),
    "capitals": ("X-GZip", (PACKED,)),
    "beside identity": ("identity, gzip", (PACKED,)),
    "zeros behind it": ("gzip", (PACKED + bytes(512),)),
    "zeros that come later": ("gzip", (PACKED, bytes(512), bytes(512))),
    "more zeros than one look takes": ("gzip", (PACKED + bytes(100_000),)),
    "two members": ("gzip", (gzip.compress(BODY[:5]) + gzip.compress(BODY[5:]),)),
    "members with zeros between": ("gzip", (gzip.compress(BODY[:5]) + bytes(9), gzip.compress(BODY[5:]) + bytes(9))),
    "byte by byte": ("gzip", tuple(bytes([byte]) for byte in PACKED)),
    "no encoding": ("identity", (BODY,)),
    "an empty name": ("", (BODY,)),
}


@pytest.mark.parametrize(("encoding", "parts"), GZIPS.values(), ids=GZIPS)
async def test_gzip_is_read_in_all_its_forms(
    serve: Serve, upstream: ScriptedUpstream, encoding: str, parts: tuple[bytes, ...]
) -> None:
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nTransfer-Encoding: chunked\r\n\r\n"
    upstream.play((head.encode(), *chunks, b"0\r\n\r\n"))
    reply = await (await serve()).stub.ListRepos(REQUEST)
    assert reply.repos[0].name == "a"


async def test_gzip_that_becomes_a_thousand_times_its_size_is_read(serve: Serve, upstream: ScriptedUpstream) -> None:
    body = b"[" + b" " * 20_000_000 + BODY[1:]
    upstream.play(page(gzip.compress(body), {"Content-Encoding": "gzip"}))
    reply = await (await serve()).stub.ListRepos(REQUEST)
    assert reply.repos[0].name == "a"


@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "plain"])
async def test_a_body_over_the_limit_is_given_up_by_its_decompressed_size(
    serve: Serve, upstream: ScriptedUpstream, packed: bool
) -> None:
    body = b"[" + b" " * 5_000_000 + b"]"
    upstream.play(page(gzip.compress(body), {"Content-Encoding": "gzip"}) if packed else page(body))
    stub = (await serve(max_response_bytes="1MiB")).stub
    failure = await failure_of(stub.ListRepos(REQUEST))
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "UPSTREAM_RESPONSE_TOO_LARGE")


async def test_a_body_of_just_the_limit_is_read(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(page(b"[" + b" " * 65_534 + b"]"))
    stub = (await serve(max_response_bytes="64KiB")).stub
    assert await stub.ListRepos(REQUEST) == repos_pb2.ListReposResponse()


DENIED = b'{"errorCode":"SVCSTG.SWR.4031032","errorMessage":"The requests exceed the maximum."}'
# What can come in place of an error's whole body, and whether the code in it is heard.
ERROR_BODIES: dict[str, tuple[dict[str, str], Script, bool]] = {
    "nothing": ({}, (Act.STALL,), False),
    "half of it": ({}, (DENIED[:-9], Act.STALL), False),
    "all but its end": ({}, (DENIED, Act.STALL), True),
    "all but its end, cut off": ({}, (DENIED, Act.CLOSE), True),
    "half of it, reset": ({}, (DENIED[:-9], Act.RESET), False),
    "more than is looked at": ({}, (DENIED + b" " * 100_000, Act.STALL), False),
    "gzip": ({"Content-Encoding": "x-gzip"}, (gzip.compress(DENIED), Act.STALL), True),
    "gzip that is none": ({"Content-Encoding": "gzip"}, (DENIED, Act.STALL), False),
    "gzip that is cut off": ({"Content-Encoding": "gzip"}, (gzip.compress(DENIED)[:-20], Act.CLOSE), False),
    "gzip of more than is looked at": (
        {"Content-Encoding": "gzip"},
        (gzip.compress(DENIED + b" " * 100_000), Act.STALL),
        False,
    ),
    "an encoding that was not asked for": ({"Content-Encoding": "br"}, (DENIED, Act.STALL), False),
}


@pytest.mark.parametrize(("headers", "body", "is_heard"), ERROR_BODIES.values(), ids=ERROR_BODIES)
async def test_a_refusal_is_one_whatever_becomes_of_its_body(
    serve: Serve,
    upstream: ScriptedUpstream,
    monkeypatch: pytest.MonkeyPatch,
    headers: dict[str, str],
    body: Script,
    is_heard: bool,
) -> None:
    monkeypatch.setattr(bodies, "ERROR_BODY_TIMEOUT", 0.1)
    lines = ["HTTP/1.1 403 Forbidden", "Content-Length: 1000000", *map(": ".join, headers.items()), "", ""]
    head = "\r\n".join(lines).encode()
    # In one piece with what the body begins with, so that no time passes between the two.
    upstream.play((head + body[0], *body[1:]) if isinstance(body[0], bytes) else (head, *body))
    stub = (await serve(retries=2)).stub
    failure = await failure_of(stub.ListRepos(REQUEST))
    assert failure.reason == ("UPSTREAM_RATE_LIMITED" if is_heard else "UPSTREAM_PERMISSION_DENIED")
    assert failure.info.metadata["attempts"] == "1"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("status", "reason", "attempts"),
    [
        (400, "UPSTREAM_INVALID_ARGUMENT", 1),
        (401, "UPSTREAM_CREDENTIAL_REJECTED", 1),
        (404, "UPSTREAM_NOT_FOUND", 1),
        (302, "UPSTREAM_REDIRECT", 1),
        (500, "UPSTREAM_INTERNAL", 2),
        (503, "UPSTREAM_UNAVAILABLE", 3),
    ],
)
async def test_a_status_whose_body_stalls_is_retried_as_that_status(
    serve: Serve, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, status: int, reason: str, attempts: int
) -> None:
    monkeypatch.setattr(bodies, "ERROR_BODY_TIMEOUT", 0.1)
    upstream.play((b"HTTP/1.1 %d Whatever\r\nContent-Length: 9\r\n\r\n" % status, Act.STALL))
    stub = (await serve(retries=2)).stub
    assert (await failure_of(stub.ListRepos(REQUEST))).reason == reason
    assert len(upstream.requests) == attempts


async def test_a_refusal_whose_body_stalls_is_told_within_the_callers_deadline(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    upstream.play((b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\n", Act.STALL))
    stub = (await serve()).stub
    failure = await failure_of(stub.ListRepos(REQUEST, timeout=8))
    assert failure.reason == "UPSTREAM_PERMISSION_DENIED"


async def test_redirects_are_not_followed(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(answer(302, "", {"Location": f"{upstream.url}/elsewhere?token=secret"}))
    stub = (await serve(auth="token", token="own")).stub
    failure = await failure_of(stub.ListRepos(REQUEST))
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "UPSTREAM_REDIRECT")
    assert "secret" not in str(failure)
    assert len(upstream.requests) == 1


async def test_cookies_are_not_kept(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(page("[]", {"Set-Cookie": "session=of-one-caller; Path=/"}))
    stub = (await serve()).stub
    await stub.ListRepos(REQUEST)
    await stub.ListRepos(REQUEST)
    assert "cookie" not in upstream.requests[1].headers


async def test_proxies_of_the_environment_are_not_used(
    serve: Serve, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = (await serve()).stub
    await stub.ListRepos(REQUEST)  # the client's own connection is made: grpc would go through the proxy
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    upstream.play(page("[]", {"Connection": "close"}))
    await stub.ListRepos(REQUEST)
    assert await stub.ListRepos(REQUEST) == repos_pb2.ListReposResponse()


async def test_connections_are_used_again_and_a_closed_one_is_not(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(page("[]"), page("[]", {"Connection": "close"}), page("[]"))
    stub = (await serve()).stub
    for _ in range(3):
        await stub.ListRepos(REQUEST)
    assert upstream.connections == 2


async def test_bytes_behind_an_answer_are_no_answer_to_the_next_request(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    upstream.play(page('[{"name":"first"}]') + page('[{"name":"smuggled"}]'), page('[{"name":"second"}]'))
    stub = (await serve()).stub
    names = [(await stub.ListRepos(REQUEST)).repos[0].name for _ in range(2)]
    assert names == ["first", "second"]


async def test_no_more_requests_than_allowed_are_in_flight(serve: Serve, upstream: ScriptedUpstream) -> None:
    release = asyncio.Event()
    upstream.play((release, page("[]")))
    stub = (await serve(max_in_flight=2)).stub
    calls = [asyncio.ensure_future(stub.ListRepos(REQUEST)) for _ in range(6)]
    await upstream.all_arrived(1)
    release.set()
    await asyncio.gather(*calls)
    assert upstream.connections <= 2
    assert len(upstream.requests) == 6


async def test_nobody_listening_is_unreachable(serve: Serve) -> None:
    with held_port() as port:
        stub = (await serve(upstream_url=f"http://127.0.0.1:{port}")).stub
        failure = await failure_of(stub.ListRepos(REQUEST))
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNREACHABLE")
    assert failure.info.metadata["phase"] == "connect"


async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(serve: Serve) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    async with stream_server(_say_nothing, ssl=context) as port:
        stub = (await serve(upstream_url=f"https://localhost:{port}")).stub
        failure = await failure_of(stub.ListRepos(REQUEST))
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "UPSTREAM_TLS_UNTRUSTED")


async def test_a_server_that_speaks_no_tls_fails_the_handshake(serve: Serve) -> None:
    async with stream_server(_say_plain) as port:
        stub = (await serve(upstream_url=f"https://localhost:{port}")).stub
        failure = await failure_of(stub.ListRepos(REQUEST))
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_TLS_FAILED")
    assert failure.info.metadata["phase"] == "tls"


async def _say_nothing(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    pass


async def _say_plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


KEY = aiohttp.client_reqrep.ConnectionKey(
    "nowhere", 80, is_ssl=False, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None, server_hostname=None
)


@pytest.mark.parametrize(
    ("error", "reason", "phase"),
    [
        (aiohttp.ClientConnectorDNSError(KEY, OSError("no such host")), "UPSTREAM_UNREACHABLE", "dns"),
        (aiohttp.ConnectionTimeoutError(), "UPSTREAM_UNREACHABLE", "connect"),
    ],
    ids=["dns", "connect timeout"],
)
def test_faults_that_no_test_server_can_play(error: aiohttp.ClientError, reason: str, phase: str) -> None:
    gateway_error = to_gateway_error(error, "headers")
    assert (gateway_error.cause.reason, gateway_error.phase) == (reason, phase)


def test_an_error_that_is_no_fault_of_the_upstream_is_raised_as_the_bug_it_is() -> None:
    with pytest.raises(aiohttp.InvalidURL):
        to_gateway_error(aiohttp.InvalidURL("x"), "headers")


def test_a_made_up_status_of_an_exception_is_not_the_upstreams() -> None:
    error = aiohttp.ClientResponseError(None, (), status=400)  # type: ignore[arg-type]
    gateway_error = to_gateway_error(error, "headers")
    assert (gateway_error.cause.reason, gateway_error.http_status) == ("UPSTREAM_PROTOCOL", 0)
