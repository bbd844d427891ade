"""TLS towards callers: who gets in, by which certificate, and what happens when the files change."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2

from certificates import (
    CA,
    OTHER_CA,
    TOMORROW,
    YESTERDAY,
    Folder,
    Mount,
    Pair,
    certificate_end,
    client_context,
    issue,
    issue_named,
    issue_of_year_0,
    pem_of,
    set_version,
    tls_upstream,
)
from conftest import Serve, Served
from failures import failure_of, read_failure
from gateway.files.reloading import Look
from gateway.metrics import Metrics
from gateway.server.tls import ServerTls
from gateway.start_errors import BadFileError
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from patience import until
from scripted_upstream import ScriptedUpstream

REQUEST = repos_pb2.ListReposRequest()
PAGE = repos_pb2.ListReposResponse()
HOSTS = ("localhost", "127.0.0.1")
SERVER = issue(*HOSTS)
CALLER = issue("caller.corp.example")
STRANGER = issue("caller.corp.example", authority=OTHER_CA)
EXPIRED = issue("caller.corp.example", not_after=YESTERDAY)

ServeTls: TypeAlias = Callable[..., Awaitable[Served]]


@pytest.fixture
def files(tmp_path: Path) -> Mount:
    return Mount(tmp_path / "tls", certificate=SERVER.chain, key=SERVER.key, authorities=pem_of(CA))


@pytest.fixture
def serve_tls(serve: Serve) -> ServeTls:
    """Start a gateway with TLS; `mutual` is with the authorities of the files."""

    async def start(files: Folder, *, mutual: bool = False, **given: Any) -> Served:
        pair = {"tls_cert": files.path("certificate"), "tls_key": files.path("key")}
        return await serve(**pair, tls_client_ca=files.path("authorities") if mutual else None, **given)

    return start


def connect(address: str, caller: Pair | None = None, trusted: trustme.CA = CA) -> grpc.aio.Channel:
    """Open a channel with a connection of its own."""
    pair = (caller.key, caller.chain) if caller else (None, None)
    credentials = grpc.ssl_channel_credentials(pem_of(trusted), *pair)
    options: list[tuple[str, Any]] = [("grpc.use_local_subchannel_pool", 1)]
    if address.startswith("unix:"):
        options.append(("grpc.default_authority", "localhost"))  # the path would have to be in the certificate
    return grpc.aio.secure_channel(address, credentials, options)


async def call(address: str, caller: Pair | None = None, trusted: trustme.CA = CA) -> repos_pb2.ListReposResponse:
    """Call once over a new connection."""
    async with connect(address, caller, trusted) as channel:
        return await RepoServiceStub(channel).ListRepos(REQUEST)


async def refusal(address: str, caller: Pair | None = None, trusted: trustme.CA = CA) -> grpc.StatusCode:
    """Call once over a new connection, which must fail."""
    async with connect(address, caller, trusted) as channel:
        return (await failure_of(RepoServiceStub(channel).ListRepos(REQUEST))).code


@asynccontextmanager
async def handshake(address: str, context: ssl.SSLContext) -> AsyncIterator[ssl.SSLObject]:
    """Connect without gRPC, to look at the connection itself."""
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        _, writer = await asyncio.open_unix_connection(path, ssl=context, server_hostname="localhost")
    else:
        host, _, port = address.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        yield writer.get_extra_info("ssl_object")
    finally:
        writer.transport.abort()


async def shown_by(address: str) -> bytes:
    """Return the certificate that a new connection sees, whoever vouches for it."""
    context = client_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with handshake(address, context) as connection:
        return connection.getpeercert(binary_form=True) or b""


async def test_a_caller_that_trusts_the_authority_gets_in(serve_tls: ServeTls, files: Mount) -> None:
    served = await serve_tls(files)
    assert await call(served.address) == PAGE


async def test_a_caller_that_trusts_another_authority_refuses_the_gateway(serve_tls: ServeTls, files: Mount) -> None:
    served = await serve_tls(files)
    assert await refusal(served.address, trusted=OTHER_CA) is grpc.StatusCode.UNAVAILABLE


async def test_plain_text_is_not_spoken(serve_tls: ServeTls, files: Mount, upstream: ScriptedUpstream) -> None:
    served = await serve_tls(files)
    async with grpc.aio.insecure_channel(served.address) as channel:
        failure = await failure_of(RepoServiceStub(channel).ListRepos(REQUEST))
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert upstream.requests == []


async def test_every_address_is_secured_and_a_socket_file_too(
    serve_tls: ServeTls, files: Mount, tmp_path: Path
) -> None:
    listen = f"127.0.0.1:0,127.0.0.1:0,unix:{tmp_path}/gateway.sock"
    served = await serve_tls(files, listen=listen)
    assert len(served.gateway.addresses) == 3
    for address in served.gateway.addresses:
        assert await call(address) == PAGE
        async with grpc.aio.insecure_channel(address) as channel:
            failure = await failure_of(RepoServiceStub(channel).ListRepos(REQUEST))
        assert failure.code is grpc.StatusCode.UNAVAILABLE


async def test_mutual_tls_lets_in_who_shows_a_certificate_of_the_authority(serve_tls: ServeTls, files: Mount) -> None:
    served = await serve_tls(files, mutual=True)
    assert await call(served.address, CALLER) == PAGE


@pytest.mark.parametrize(
    "caller",
    [
        pytest.param(None, id="no certificate"),
        pytest.param(STRANGER, id="one of another authority"),
        pytest.param(EXPIRED, id="one that expired"),
    ],
)
async def test_mutual_tls_lets_no_other_call_through(
    serve_tls: ServeTls, files: Mount, upstream: ScriptedUpstream, caller: Pair | None
) -> None:
    served = await serve_tls(files, mutual=True)
    async with connect(served.address, caller) as channel:
        health: Any = HealthStub(channel)
        for attempt in (RepoServiceStub(channel).ListRepos(REQUEST), health.Check(health_pb2.HealthCheckRequest())):
            assert (await failure_of(attempt)).code is grpc.StatusCode.UNAVAILABLE
    assert upstream.requests == []


BILLING = "billing.corp.example"
ID = "spiffe://corp.example/ns/prod/sa/billing"
PROD = "spiffe://corp.example/ns/prod/*"

NAMES = [
    pytest.param(("DNS:billing.corp.example",), BILLING, True, id="host name"),
    pytest.param(("DNS:Billing.CORP.example",), BILLING, True, id="host name in other case"),
    pytest.param(("DNS:billing.corp.example",), "BILLING.Corp.Example", True, id="allowed in other case"),
    pytest.param(("DNS:other.corp.example",), BILLING, False, id="other host name"),
    pytest.param(("DNS:a.billing.corp.example",), BILLING, False, id="host below"),
    pytest.param(("DNS:corp.example",), BILLING, False, id="host above"),
    pytest.param(("DNS:billing.corp.example.org",), BILLING, False, id="host name goes on"),
    pytest.param(("DNS:other.example", "DNS:billing.corp.example"), BILLING, True, id="second of several host names"),
    pytest.param(("DNS:b.example",), "a.example,b.example", True, id="second of several allowed"),
    pytest.param(("DNS:*.corp.example",), BILLING, False, id="pattern of host names"),
    pytest.param(("DNS:*",), BILLING, False, id="pattern of everything"),
    pytest.param((f"URI:{ID}",), ID, True, id="spiffe"),
    pytest.param(("URI:spiffe://corp.example/ns/prod/sa/Billing",), ID, False, id="spiffe in other case"),
    pytest.param((f"URI:{ID}/more",), ID, False, id="spiffe below"),
    pytest.param(("URI:spiffe://evil.example/ns/prod/sa/billing",), ID, False, id="spiffe of another domain"),
    pytest.param((f"URI:{ID}",), PROD, True, id="spiffe prefix"),
    pytest.param(("URI:spiffe://corp.example/ns/prod",), PROD, False, id="spiffe prefix without its end"),
    pytest.param(("URI:spiffe://corp.example/ns/production/x",), PROD, False, id="spiffe like the prefix"),
    pytest.param(("URI:spiffe://corp.example.org/ns/prod/x",), PROD, False, id="spiffe of a longer domain"),
    pytest.param(("URI:https://corp.example/ns/prod/x",), PROD, False, id="address of a page"),
    pytest.param((f"DNS:{ID}",), f"{PROD},{ID}", False, id="host name that looks like spiffe"),
    pytest.param(("URI:billing.corp.example",), BILLING, False, id="address that looks like a host name"),
    pytest.param((f"URI:{ID}", "DNS:other.example"), PROD, True, id="spiffe beside a host name"),
    pytest.param(("DNS:billing.corp.example", f"URI:{ID}"), BILLING, True, id="host name beside spiffe"),
    pytest.param((f"URI:{ID}", "URI:spiffe://corp.example/x"), ID, False, id="two spiffe ids, which is not allowed"),
    pytest.param(("EMAIL:billing@corp.example",), "corp.example", False, id="mail address"),
    pytest.param((), BILLING, False, id="common name alone"),
    pytest.param(("DNS:other.example",), BILLING, False, id="common name beside another name"),
    pytest.param(("DNS:whatever.example",), "", True, id="nothing said of names"),
    pytest.param((), "", True, id="nothing said of names and common name alone"),
]


@pytest.mark.parametrize(("names", "allowed", "let_in"), NAMES)
async def test_callers_are_let_in_by_the_names_in_their_certificates(
    serve_tls: ServeTls, files: Mount, names: tuple[str, ...], allowed: str, let_in: bool
) -> None:
    served = await serve_tls(files, mutual=True, tls_allowed_sans=allowed)
    caller = issue_named(*names, common_name=BILLING)
    if let_in:
        assert await call(served.address, caller) == PAGE
    else:
        assert await refusal(served.address, caller) is grpc.StatusCode.PERMISSION_DENIED


METHODS = [
    pytest.param("unary_unary", "gateway.swr.v1.RepoService/ListRepos", id="list"),
    pytest.param("unary_stream", "gateway.swr.v1.RepoService/StreamRepos", id="stream"),
    pytest.param("stream_stream", "grpc.reflection.v1.ServerReflection/ServerReflectionInfo", id="reflection"),
    pytest.param("stream_stream", "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", id="reflection old"),
]


@pytest.mark.parametrize(("shape", "method"), METHODS)
async def test_a_caller_that_is_not_allowed_is_told_so_and_nothing_is_asked_for_it(
    serve_tls: ServeTls, files: Mount, upstream: ScriptedUpstream, shape: str, method: str
) -> None:
    served = await serve_tls(files, mutual=True, tls_allowed_sans=BILLING)
    request = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    async with connect(served.address, CALLER) as channel:
        started: Any = getattr(channel, shape)(f"/{method}")(iter([request]) if shape == "stream_stream" else b"")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await (started if shape == "unary_unary" else started.read())
    failure = read_failure(raised.value)
    assert (failure.code, failure.reason) == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_ALLOWED")
    assert failure.info.domain == "gateway.swr.v1"
    assert BILLING not in str(failure)
    assert upstream.connections == 0


async def test_health_is_open_to_every_certificate_of_the_authority(serve_tls: ServeTls, files: Mount) -> None:
    served = await serve_tls(files, mutual=True, tls_allowed_sans=BILLING)
    serving, request = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckRequest()
    async with connect(served.address, CALLER) as channel:
        health: Any = HealthStub(channel)
        assert (await health.Check(request)).status == serving
        assert (await health.Watch(request).read()).status == serving
        listed = await health.List(health_pb2.HealthListRequest())  # type: ignore[attr-defined]
        assert listed.statuses[""].status == serving


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
async def test_newer_tls_is_spoken(serve_tls: ServeTls, files: Mount, version: ssl.TLSVersion) -> None:
    served = await serve_tls(files)
    context = client_context()
    set_version(context, version)
    async with handshake(served.address, context) as connection:
        assert connection.version() == version.name.replace("_", ".")
        assert connection.selected_alpn_protocol() == "h2"


async def test_tls_1_1_is_refused(serve_tls: ServeTls, files: Mount) -> None:
    served = await serve_tls(files)
    context = client_context()
    set_version(context, ssl.TLSVersion.TLSv1_1)
    async with tls_upstream(version=ssl.TLSVersion.TLSv1_1) as old:
        async with handshake(old.url.removeprefix("https://"), context) as connection:
            assert connection.version() == "TLSv1.1"
        # gRPC hangs up without an alert.
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with handshake(served.address, context):
                pass


@pytest.mark.parametrize("kind", [Folder, Mount], ids=["replaced", "swapped as a mount"])
async def test_new_connections_see_a_new_certificate_and_old_ones_go_on(
    serve_tls: ServeTls, tmp_path: Path, kind: type[Folder]
) -> None:
    files = kind(tmp_path / "tls", certificate=SERVER.chain, key=SERVER.key)
    address = (await serve_tls(files)).address
    assert await shown_by(address) == SERVER.der
    new = issue(*HOSTS, authority=OTHER_CA)
    async with connect(address) as old:
        await RepoServiceStub(old).ListRepos(REQUEST)
        files.put_pair(new)
        assert await shown_by(address) == new.der
        assert await call(address, trusted=OTHER_CA) == PAGE
        # Who still trusts the old authority only can have no new connection: it is the old one that goes on.
        assert await refusal(address) is grpc.StatusCode.UNAVAILABLE
        assert await RepoServiceStub(old).ListRepos(REQUEST) == PAGE


async def test_a_stream_outlives_the_certificate_that_it_began_with(serve_tls: ServeTls, files: Mount) -> None:
    address = (await serve_tls(files)).address
    async with connect(address) as channel:
        health: Any = HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        files.put_pair(issue(*HOSTS, authority=OTHER_CA))
        assert await refusal(address) is grpc.StatusCode.UNAVAILABLE
        assert not watch.done()
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING


async def test_every_address_shows_each_new_certificate(serve_tls: ServeTls, files: Mount, tmp_path: Path) -> None:
    served = await serve_tls(files, listen=f"127.0.0.1:0,127.0.0.1:0,unix:{tmp_path}/gateway.sock")
    for pair in (SERVER, issue(*HOSTS), issue(*HOSTS), SERVER):
        files.put_pair(pair)
        assert [await shown_by(address) for address in served.gateway.addresses] == [pair.der] * 3
    assert [await call(address) for address in served.gateway.addresses] == [PAGE] * 3


UNUSABLE = [
    pytest.param({"certificate": b"none"}, id="no certificate"),
    pytest.param({"key": b"none"}, id="no key"),
    pytest.param({"key": CALLER.key}, id="key of another certificate"),
    pytest.param({"certificate": EXPIRED.chain, "key": EXPIRED.key}, id="expired"),
    pytest.param({"authorities": b"none"}, id="no authorities"),
]


@pytest.mark.parametrize("contents", UNUSABLE)
async def test_files_that_cannot_be_used_leave_the_old_ones_in_use_until_there_are_good_ones(
    serve_tls: ServeTls, files: Mount, caplog: pytest.LogCaptureFixture, contents: dict[str, bytes]
) -> None:
    address = (await serve_tls(files, mutual=True)).address
    files.put(**contents)
    for _ in range(3):
        assert await shown_by(address) == SERVER.der
        assert await call(address, CALLER) == PAGE
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.message.startswith("server_tls: ")
    new = issue(*HOSTS)
    files.put(certificate=new.chain, key=new.key, authorities=pem_of(CA))
    assert await shown_by(address) == new.der


UNSUITABLE = issue_named(
    "DNS:localhost", key=ec.generate_private_key(ec.SECP224R1())
)  # which OpenSSL knows and gRPC's TLS does not


async def test_a_certificate_that_grpc_cannot_use_is_told_when_files_change(
    serve_tls: ServeTls, files: Mount, caplog: pytest.LogCaptureFixture
) -> None:
    address = (await serve_tls(files)).address
    files.put_pair(UNSUITABLE)
    assert await shown_by(address) == SERVER.der
    assert [record.levelname for record in caplog.records if "server_tls" in record.message] == ["ERROR"]


class Listener(logging.Handler):
    """Waits for a record, which may come from another thread."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self.heard: asyncio.Future[str] = self._loop.create_future()

    def emit(self, record: logging.LogRecord) -> None:
        self._loop.call_soon_threadsafe(self.heard.set_result, record.getMessage())


async def test_a_file_that_becomes_unusable_is_told_though_nobody_connects(
    serve_tls: ServeTls, files: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.files.watch.LOOK_EVERY", 0.01)
    await serve_tls(files)
    listener = Listener()
    log = logging.getLogger("gateway.files.reloading")
    log.addHandler(listener)
    files.put(key=b"no key")
    assert (await listener.heard).startswith("server_tls: ")
    log.removeHandler(listener)


async def test_the_watch_over_files_outlives_every_certificate_and_the_gateway_ends_in_order(
    serve_tls: ServeTls, files: Mount, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.files.watch.LOOK_EVERY", 0.01)
    caplog.set_level(logging.INFO)
    served = await serve_tls(files)
    files.put_pair(issue_of_year_0(*HOSTS))
    await until(lambda: "times cannot be read" in caplog.text)
    assert await shown_by(served.address) == SERVER.der
    new = issue(*HOSTS)
    files.put_pair(new)
    await until(lambda: "server_tls: read again" in caplog.messages)
    assert await shown_by(served.address) == new.der
    await served.drain()


async def test_a_look_at_files_that_fails_is_not_the_last(
    serve_tls: ServeTls, files: Mount, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.files.watch.LOOK_EVERY", 0.01)
    looks = iter([ZeroDivisionError("on purpose"), OSError("on purpose")])

    def look(tls: ServerTls) -> tuple[Look, ...]:
        for error in looks:
            raise error
        return original(tls)

    original = ServerTls.look_at_files
    monkeypatch.setattr(ServerTls, "look_at_files", look)
    caplog.set_level(logging.INFO)
    await serve_tls(files)
    files.put_pair(issue(*HOSTS))
    await until(lambda: "server_tls: read again" in caplog.messages)
    assert caplog.messages.count("files were not looked at") == 2


async def test_a_certificate_that_grpc_cannot_use_is_told_at_the_start(serve_tls: ServeTls, files: Mount) -> None:
    files.put_pair(UNSUITABLE)
    with pytest.raises(BadFileError) as raised:
        await serve_tls(files)
    assert raised.value.path == files.path("certificate")


@pytest.mark.parametrize("kind", [Folder, Mount], ids=["replaced", "swapped as a mount"])
async def test_authorities_for_callers_are_read_again(serve_tls: ServeTls, tmp_path: Path, kind: type[Folder]) -> None:
    files = kind(tmp_path / "tls", certificate=SERVER.chain, key=SERVER.key, authorities=pem_of(CA))
    address = (await serve_tls(files, mutual=True)).address
    async with connect(address, CALLER) as old:
        await RepoServiceStub(old).ListRepos(REQUEST)
        files.put(authorities=pem_of(OTHER_CA))
        assert await call(address, STRANGER) == PAGE
        assert await refusal(address, CALLER) is grpc.StatusCode.UNAVAILABLE
        assert await RepoServiceStub(old).ListRepos(REQUEST) == PAGE
    files.put(authorities=pem_of(OTHER_CA, CA))
    assert [await call(address, caller) for caller in (CALLER, STRANGER)] == [PAGE] * 2


@pytest.mark.parametrize("kind", [Folder, Mount], ids=["replaced", "swapped as a mount"])
async def test_no_call_is_lost_while_certificates_change(
    serve_tls: ServeTls, tmp_path: Path, kind: type[Folder]
) -> None:
    files = kind(tmp_path / "tls", certificate=SERVER.chain, key=SERVER.key, authorities=pem_of(CA))
    address = (await serve_tls(files, mutual=True)).address
    pairs = [issue(*HOSTS) for _ in range(20)]
    seen: list[bytes] = []
    answered = asyncio.Semaphore(0)

    async def work() -> None:
        while len(seen) < len(pairs):
            assert await call(address, CALLER) == PAGE
            answered.release()

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(work())
        for pair in pairs:
            files.put_pair(pair)
            for _ in range(8):  # some of them began after the change
                await answered.acquire()
            seen.append(await shown_by(address))
    assert seen == [pair.der for pair in pairs]


def test_the_end_of_the_certificate_in_use_is_told(files: Mount) -> None:
    metrics = Metrics()
    tls = ServerTls(files.path("certificate"), files.path("key"), None, metrics)

    first = certificate_end(metrics, "server_tls")
    files.put_pair(EXPIRED)
    tls.credentials()
    assert certificate_end(metrics, "server_tls") == first
    files.put_pair(issue(*HOSTS, not_after=TOMORROW))
    tls.credentials()
    assert certificate_end(metrics, "server_tls") == int(TOMORROW.timestamp())
