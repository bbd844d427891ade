"""TLS towards the upstream: whom the gateway trusts, how it shows who it is, and what happens when the files change."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from certificates import (
    CA,
    OTHER_CA,
    TOMORROW,
    YESTERDAY,
    Folder,
    Mount,
    Pair,
    certificate_end,
    issue,
    issue_named,
    pem_of,
    tls_upstream,
)
from conftest import Serve
from failures import Failure, failure_of
from gateway.metrics import Metrics
from gateway.start_errors import BadFileError
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from gateway.upstream.tls import UpstreamTls
from scripted_upstream import page
from stream_server import stream_server

REQUEST = repos_pb2.ListReposRequest()
PAGE = repos_pb2.ListReposResponse()
GATEWAY = issue("gateway.corp.example")
OTHER_GATEWAY = issue("other.corp.example")
STRANGER = issue("gateway.corp.example", authority=OTHER_CA)


@pytest.fixture
def files(tmp_path: Path) -> Mount:
    return Mount(tmp_path / "tls", certificate=GATEWAY.chain, key=GATEWAY.key, authorities=pem_of(CA))


def trust(files: Folder) -> dict[str, Path]:
    return {"upstream_ca": files.path("authorities")}


def trust_and_show(files: Folder) -> dict[str, Path]:
    return trust(files) | {
        "upstream_client_cert": files.path("certificate"),
        "upstream_client_key": files.path("key"),
    }


async def test_an_upstream_that_the_authorities_vouch_for_is_asked(serve: Serve, files: Mount) -> None:
    async with tls_upstream() as upstream:
        stub = (await serve(upstream_url=upstream.url, **trust(files))).stub
        assert await stub.ListRepos(REQUEST) == PAGE
        assert (upstream.callers, upstream.requests) == ([""], 1)


def assert_tls_failed(failure: Failure) -> None:
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_TLS_FAILED")
    assert failure.info.metadata["phase"] == "tls"


UNTRUSTED = [
    pytest.param(issue("localhost"), None, id="the system's authorities do not vouch"),
    pytest.param(issue("localhost", authority=OTHER_CA), pem_of(CA), id="another authority"),
    pytest.param(issue("localhost", not_after=YESTERDAY), pem_of(CA), id="expired"),
    pytest.param(issue("localhost", not_before=TOMORROW), pem_of(CA), id="not valid yet"),
    pytest.param(issue("elsewhere.example"), pem_of(CA), id="another host"),
    pytest.param(issue("127.0.0.1"), pem_of(CA), id="the address instead of the host"),
]


@pytest.mark.parametrize(("pair", "authorities"), UNTRUSTED)
async def test_an_upstream_that_is_not_trusted_is_asked_nothing(
    serve: Serve, files: Mount, pair: Pair, authorities: bytes | None
) -> None:
    async with tls_upstream(pair) as upstream:
        stub = (await serve(upstream_url=upstream.url, **(trust(files) if authorities else {}))).stub
        failure = await failure_of(stub.ListRepos(REQUEST))
        assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "UPSTREAM_TLS_UNTRUSTED")
        assert failure.info.metadata["phase"] == "tls"
        assert (upstream.attempts, upstream.requests) == (1, 0)


@asynccontextmanager
async def raw_upstream(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answer whatever comes with some bytes, and hang up; give the URL and what came on each connection."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(2**16))
        writer.write(answer)
        writer.close()

    async with stream_server(serve) as port:
        yield f"https://localhost:{port}", received


async def test_an_upstream_in_plain_text_fails_the_handshake(serve: Serve, files: Mount) -> None:
    async with raw_upstream(b"HTTP/1.1 400 Bad Request\r\n\r\n") as (url, received):
        failure = await failure_of((await serve(upstream_url=url, **trust(files))).stub.ListRepos(REQUEST))
        assert_tls_failed(failure)
        assert [first[:1] for first in received] == [b"\x16"]  # one handshake and no HTTP


async def test_an_upstream_that_hangs_up_fails_the_handshake(serve: Serve, files: Mount) -> None:
    async with raw_upstream(b"") as (url, received):
        failure = await failure_of((await serve(upstream_url=url, **trust(files))).stub.ListRepos(REQUEST))
        assert_tls_failed(failure)
        assert len(received) == 1


VERSIONS = [pytest.param(ssl.TLSVersion.TLSv1_2, id="TLS 1.2"), pytest.param(ssl.TLSVersion.TLSv1_3, id="TLS 1.3")]


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_upstream_sees_the_gateways_certificate(serve: Serve, files: Mount, version: ssl.TLSVersion) -> None:
    async with tls_upstream(callers=CA, version=version) as upstream:
        stub = (await serve(upstream_url=upstream.url, **trust_and_show(files))).stub
        assert await stub.ListRepos(REQUEST) == PAGE
        assert upstream.callers == ["gateway.corp.example"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shown", [None, STRANGER], ids=["none", "one of another authority"])
async def test_an_upstream_that_wants_another_certificate_fails_the_handshake(
    serve: Serve, files: Mount, version: ssl.TLSVersion, shown: Pair | None
) -> None:
    if shown:
        files.put_pair(shown)
    async with tls_upstream(callers=CA, version=version) as upstream:
        stub = (await serve(upstream_url=upstream.url, **(trust_and_show(files) if shown else trust(files)))).stub
        failure = await failure_of(stub.ListRepos(REQUEST))
        assert_tls_failed(failure)
        assert (upstream.attempts, upstream.requests) == (1, 0)


async def test_an_upstream_that_speaks_only_tls_1_1_fails_the_handshake(serve: Serve, files: Mount) -> None:
    async with tls_upstream(version=ssl.TLSVersion.TLSv1_1) as upstream:
        stub = (await serve(upstream_url=upstream.url, **trust(files))).stub
        failure = await failure_of(stub.ListRepos(REQUEST))
        assert_tls_failed(failure)
        assert upstream.attempts == 1


async def test_the_upstream_sees_a_new_certificate_though_the_old_connection_stands(serve: Serve, files: Mount) -> None:
    async with tls_upstream(callers=CA) as upstream:
        stub = (await serve(upstream_url=upstream.url, **trust_and_show(files))).stub
        for pair in (GATEWAY, GATEWAY, OTHER_GATEWAY, OTHER_GATEWAY):
            files.put_pair(pair)
            assert await stub.ListRepos(REQUEST) == PAGE
        assert list(dict.fromkeys(upstream.callers)) == ["gateway.corp.example", "other.corp.example"]


async def test_connections_are_used_again_while_no_file_changes(serve: Serve, files: Mount) -> None:
    async with tls_upstream(callers=CA) as upstream:
        stub = (await serve(upstream_url=upstream.url, **trust_and_show(files))).stub
        for _ in range(3):
            await stub.ListRepos(REQUEST)
        assert (upstream.attempts, upstream.requests) == (1, 3)


@pytest.mark.parametrize("kind", [Folder, Mount], ids=["replaced", "swapped as a mount"])
async def test_no_call_is_lost_while_certificates_change(serve: Serve, tmp_path: Path, kind: type[Folder]) -> None:
    files = kind(tmp_path / "tls", certificate=GATEWAY.chain, key=GATEWAY.key, authorities=pem_of(CA))
    names = [f"gateway-{number}.corp.example" for number in range(20)]
    changing = True
    answered = asyncio.Semaphore(0)

    async def work(stub: RepoServiceStub) -> None:
        while changing:
            assert await stub.ListRepos(REQUEST) == PAGE
            answered.release()

    async with tls_upstream(callers=CA) as upstream:
        stub = (await serve(upstream_url=upstream.url, **trust_and_show(files))).stub
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(work(stub))
            for name in names:
                files.put_pair(issue(name))
                for _ in range(8):  # some of them began after the change
                    await answered.acquire()
            changing = False
        assert set(names) <= set(upstream.callers)


@pytest.mark.parametrize("kind", [Folder, Mount], ids=["replaced", "swapped as a mount"])
async def test_authorities_are_read_again(serve: Serve, tmp_path: Path, kind: type[Folder]) -> None:
    files = kind(tmp_path / "tls", certificate=GATEWAY.chain, key=GATEWAY.key, authorities=pem_of(CA))
    async with tls_upstream() as upstream:
        stub = (await serve(upstream_url=upstream.url, **trust_and_show(files))).stub
        assert await stub.ListRepos(REQUEST) == PAGE
        files.put(authorities=pem_of(OTHER_CA))
        assert (await failure_of(stub.ListRepos(REQUEST))).reason == "UPSTREAM_TLS_UNTRUSTED"
        files.put(authorities=pem_of(OTHER_CA, CA))
        assert await stub.ListRepos(REQUEST) == PAGE


EXPIRED = issue("gateway.corp.example", not_after=YESTERDAY)
WEAK = issue_named("DNS:gateway.corp.example", key=rsa.generate_private_key(65537, 1024))

UNUSABLE = [
    pytest.param({"authorities": b"none"}, id="no authorities"),
    pytest.param({"certificate": b"none"}, id="no certificate"),
    pytest.param({"key": b"none"}, id="no key"),
    pytest.param({"key": OTHER_GATEWAY.key}, id="key of another certificate"),
    pytest.param({"certificate": EXPIRED.chain, "key": EXPIRED.key}, id="expired"),
    pytest.param({"certificate": WEAK.chain, "key": WEAK.key}, id="too weak for OpenSSL"),
]


@pytest.mark.parametrize("contents", UNUSABLE)
async def test_files_that_cannot_be_used_leave_the_old_ones_in_use_until_there_are_good_ones(
    serve: Serve, files: Mount, caplog: pytest.LogCaptureFixture, contents: dict[str, bytes]
) -> None:
    async with tls_upstream(callers=CA) as upstream:
        upstream.answer = page("[]", {"Connection": "close"})
        stub = (await serve(upstream_url=upstream.url, **trust_and_show(files))).stub
        files.put(**contents)
        for _ in range(3):
            assert await stub.ListRepos(REQUEST) == PAGE
        assert upstream.callers == ["gateway.corp.example"] * 3
        (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
        assert record.message.startswith("upstream_tls: ")
        files.put(authorities=pem_of(CA), certificate=OTHER_GATEWAY.chain, key=OTHER_GATEWAY.key)
        assert await stub.ListRepos(REQUEST) == PAGE
        assert upstream.callers[-1] == "other.corp.example"


@pytest.mark.parametrize("contents", UNUSABLE)
def test_files_that_cannot_be_used_are_told_at_the_start(files: Mount, contents: dict[str, bytes]) -> None:
    files.put(**contents)
    with pytest.raises(BadFileError) as raised:
        UpstreamTls(files.path("authorities"), (files.path("certificate"), files.path("key")), Metrics())
    assert raised.value.path.name in contents


BUNDLES = [
    pytest.param(b"# F\xc5\x91tan\xc3\xbas\xc3\xadtv\xc3\xa1ny\n" + pem_of(CA), id="comments in UTF-8"),
    pytest.param(b"# Gr\xfc\xdfe\n" + pem_of(CA), id="comments in Latin-1"),
    pytest.param(pem_of(OTHER_CA, CA).replace(b"\n", b"\r\n"), id="lines as on Windows"),
    pytest.param(CA.private_key_pem.bytes() + pem_of(CA), id="beside a key"),
]


@pytest.mark.parametrize("bundle", BUNDLES)
async def test_bundles_hold_more_than_certificates(serve: Serve, files: Mount, bundle: bytes) -> None:
    files.put(authorities=bundle)
    async with tls_upstream() as upstream:
        stub = (await serve(upstream_url=upstream.url, **trust(files))).stub
        assert await stub.ListRepos(REQUEST) == PAGE


async def test_a_bundle_whose_end_is_missing_fails_no_call(serve: Serve, files: Mount) -> None:
    async with tls_upstream() as upstream:
        stub = (await serve(upstream_url=upstream.url, **trust(files))).stub
        files.put(authorities=pem_of(CA) + pem_of(OTHER_CA)[:100])
        assert await stub.ListRepos(REQUEST) == PAGE


def test_the_end_of_the_certificate_in_use_is_told(files: Mount) -> None:
    metrics = Metrics()
    tls = UpstreamTls(None, (files.path("certificate"), files.path("key")), metrics)

    first = certificate_end(metrics, "upstream_tls")
    files.put_pair(EXPIRED)
    tls.current()
    assert certificate_end(metrics, "upstream_tls") == first
    files.put_pair(issue("gateway.corp.example", not_after=TOMORROW))
    tls.current()
    assert certificate_end(metrics, "upstream_tls") == int(TOMORROW.timestamp())


def test_without_files_it_is_the_default_of_aiohttp() -> None:
    assert UpstreamTls(None, None, Metrics()).current() is True
