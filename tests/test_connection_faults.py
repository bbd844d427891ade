"""Why a call does not reach a gateway, as the client and `list` tell it: real sockets, and gRPC's real words."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socketserver
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest

from certificates import CA, NOW, OTHER_CA, TOMORROW, YESTERDAY, Pair, issue, pem_of
from commands import Run
from gateway.cli.hints import _REMEDIES
from gateway.cli.list_repos import command as list_command
from gateway.settings.callers import CALLER_VARIABLES
from gateway.settings.model import Settings
from gateway.settings.names import variable
from ports import held_port
from scripted_gateway import STALL, Break, ScriptedGateway, scripted_gateway
from swr_gateway_client import CallError, Client, ConnectionFault
from swr_gateway_client.faults import LASTING, find_fault
from swr_gateway_client.v1 import repos_pb2

Opened: TypeAlias = AbstractAsyncContextManager[str]

OURS = issue("127.0.0.1")
CALLER = issue("caller.example")
STRANGER = issue("caller.example", authority=OTHER_CA)


@asynccontextmanager
async def nobody() -> AsyncIterator[str]:
    """The address of a port on which nobody listens."""
    with held_port() as port:
        yield f"127.0.0.1:{port}"


@asynccontextmanager
async def saying(words: bytes | None, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that says the same to everyone, then waits for their end; with None it hangs up at once.

    In threads: asyncio's server has no word for handshakes that are under way when it closes, and leaves them behind.
    """

    class Talk(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), tls.wrap_socket(self.request, server_side=True) if tls else self.request as peer:
                if words is not None:
                    peer.sendall(words)
                    while peer.recv(4096):
                        pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talk) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        try:
            yield "{}:{}".format(*server.server_address)
        finally:
            server.shutdown()
            serving.join()


@asynccontextmanager
async def gateway(pair: Pair | None = None, *, callers: bool = False) -> AsyncIterator[str]:
    credentials = None
    if pair:
        credentials = grpc.ssl_server_credentials([(pair.key, pair.chain)], pem_of(CA) if callers else None, callers)
    async with scripted_gateway(credentials=credentials) as running:
        running.play((repos_pb2.ListReposResponse(repos=[repos_pb2.Repo(name="r")]),))
        yield running.target


def without_alpn() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issue("127.0.0.1").configure(context)
    return context


def outdated(begins: Any, ends: Any) -> Pair:
    return issue("127.0.0.1", not_before=begins, not_after=ends)


HTTP_1 = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
TRUST = ("--tls-ca", "ca")
SHOW = (*TRUST, "--tls-cert", "cert", "--tls-key", "key")
SHOW_STRANGER = (*TRUST, "--tls-cert", "stranger-cert", "--tls-key", "stranger-key")
FAULT = ConnectionFault

CASES = [
    pytest.param(nobody, (), FAULT.NO_LISTENER, "is the gateway running", id="nobody listens"),
    pytest.param(nobody, TRUST, FAULT.NO_LISTENER, "is the gateway running", id="nobody listens for TLS"),
    pytest.param(lambda: saying(HTTP_1), (), FAULT.NOT_HTTP2, "--admin-listen", id="HTTP/1"),
    pytest.param(lambda: saying(b"SSH-2.0-OpenSSH_9.2\r\n"), (), FAULT.NOT_HTTP2, "--listen", id="SSH"),
    pytest.param(lambda: saying(b"", without_alpn()), TRUST, FAULT.NOT_HTTP2, "--listen", id="TLS without HTTP/2"),
    pytest.param(gateway, TRUST, FAULT.NOT_TLS, "--no-tls", id="TLS against plain"),
    pytest.param(lambda: saying(HTTP_1), TRUST, FAULT.NOT_TLS, "--no-tls", id="TLS against HTTP/1"),
    pytest.param(lambda: gateway(OURS), (), FAULT.HUNG_UP, "try --tls or --tls-ca", id="plain against TLS"),
    pytest.param(lambda: saying(None), (), FAULT.HUNG_UP, "try --tls or --tls-ca", id="plain against who hangs up"),
    pytest.param(
        lambda: gateway(OURS, callers=True), TRUST, FAULT.HUNG_UP, "try --tls-cert and --tls-key", id="no certificate"
    ),
    pytest.param(
        lambda: gateway(OURS, callers=True),
        SHOW_STRANGER,
        FAULT.HUNG_UP,
        "does not know the authority of --tls-cert",
        id="certificate of another authority",
    ),
    pytest.param(
        lambda: gateway(issue("127.0.0.1", authority=OTHER_CA)),
        TRUST,
        FAULT.CERTIFICATE_UNTRUSTED,
        "--tls-ca names a file with the authority that signed it",
        id="another authority",
    ),
    pytest.param(lambda: gateway(OURS), ("--tls",), FAULT.CERTIFICATE_UNTRUSTED, "--tls-ca", id="public authorities"),
    pytest.param(
        lambda: gateway(outdated(NOW - timedelta(days=9), YESTERDAY)),
        TRUST,
        FAULT.CERTIFICATE_OUTDATED,
        "has to be renewed",
        id="expired",
    ),
    pytest.param(
        lambda: gateway(outdated(TOMORROW, NOW + timedelta(days=9))),
        TRUST,
        FAULT.CERTIFICATE_OUTDATED,
        "this machine's clock",
        id="not valid yet",
    ),
    pytest.param(
        lambda: gateway(issue("elsewhere.example")), TRUST, FAULT.CERTIFICATE_NAME, "--authority", id="another name"
    ),
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with PEM files."""
    contents = {"ca": pem_of(CA), "cert": CALLER.chain, "key": CALLER.key}
    contents |= {"stranger-cert": STRANGER.chain, "stranger-key": STRANGER.key}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def in_folder(arguments: tuple[str, ...], files: Path) -> list[str]:
    return [argument if argument.startswith("--") else str(files / argument) for argument in arguments]


def credentials(arguments: tuple[str, ...], files: Path) -> grpc.ChannelCredentials | None:
    """What `list` makes of its arguments, by hand."""
    given = {flag: (files / name).read_bytes() for flag, name in zip(arguments[::2], arguments[1::2], strict=False)}
    if not arguments:
        return None
    return grpc.ssl_channel_credentials(given.get("--tls-ca"), given.get("--tls-key"), given.get("--tls-cert"))


async def failure_at(target: str, tls: grpc.ChannelCredentials | None = None, **more: Any) -> CallError:
    """Fail to list, once."""
    options = (("grpc.enable_retries", 0), *more.pop("options", ()))
    async with Client(target, wait_for_ready=False, tls=tls, options=options, **more) as client:
        with pytest.raises(CallError) as raised:
            await client.list_repos()
    return raised.value


@pytest.mark.parametrize(("open_server", "arguments", "fault", "hint"), CASES)
async def test_a_connection_that_fails_says_why_and_what_to_mend(
    open_server: Callable[[], Opened], arguments: tuple[str, ...], fault: FAULT, hint: str, files: Path, run: Run
) -> None:
    async with open_server() as target:
        failure = await failure_at(target, credentials(arguments, files))
        ended = await run("list", "--target", target, *in_folder(arguments, files), "--deadline", "15s")
    assert (failure.code, failure.connection_fault) == (grpc.StatusCode.UNAVAILABLE, fault)
    assert str(failure).endswith(f" ({fault.value})")
    assert failure.may_retry == (fault not in LASTING)
    assert (ended.code, ended.out) == (1, "")
    status, told = ended.err.splitlines()
    assert status.startswith("UNAVAILABLE: ")
    assert told.startswith(f"  hint: {fault.value}: ")
    assert hint in told


async def test_a_socket_file_that_is_not_there_has_no_listener(tmp_path: Path) -> None:
    assert (await failure_at(f"unix:{tmp_path}/none")).connection_fault is FAULT.NO_LISTENER


async def test_a_host_without_an_address_is_told(run: Run) -> None:
    target = "no-such-host.invalid:50051"
    assert (await failure_at(target)).connection_fault is FAULT.NO_SUCH_HOST
    ended = await run("list", "--target", target, "--output", "json")
    assert f"is --target {target} right?" in json.loads(ended.err)["error"]["hint"]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_port_that_says_nothing_has_not_answered_in_time(tls: bool) -> None:
    at_once = (("grpc.min_reconnect_backoff_ms", 100),)  # that long a connection may take
    async with saying(b"") as target:
        failure = await failure_at(target, grpc.ssl_channel_credentials() if tls else None, options=at_once)
    assert (failure.code, failure.connection_fault) == (grpc.StatusCode.UNAVAILABLE, FAULT.NOT_IN_TIME)


async def test_a_deadline_that_passes_before_there_is_a_connection_says_so(run: Run) -> None:
    async with saying(b"") as target:
        failure = await failure_at(target, timeout=0.2)
        ended = await run("list", "--target", target, "--deadline", "1s")
    assert (failure.code, failure.connection_fault) == (grpc.StatusCode.DEADLINE_EXCEEDED, FAULT.NOT_IN_TIME)
    assert "firewall" in ended.err


async def test_a_deadline_that_passes_while_a_call_waits_for_a_gateway_says_so() -> None:
    async with nobody() as target, Client(target, timeout=0.3) as client:
        with pytest.raises(CallError) as raised:
            await client.list_repos()
    assert (raised.value.code, raised.value.connection_fault) == (grpc.StatusCode.DEADLINE_EXCEEDED, FAULT.NOT_IN_TIME)


async def test_a_deadline_that_passes_on_a_connection_is_no_fault_of_it(run: Run) -> None:
    async with scripted_gateway() as running:
        running.play((STALL,))
        failure = await failure_at(running.target, timeout=1.0)
        ended = await run("list", "--target", running.target, "--deadline", "1s")
    assert (failure.code, failure.connection_fault) == (grpc.StatusCode.DEADLINE_EXCEEDED, None)
    assert "  hint: no answer in time: --deadline gives it more" in ended.err.splitlines()


async def test_a_stream_does_not_try_again_what_somebody_has_to_mend() -> None:
    async with gateway() as target, Client(target, tls=grpc.ssl_channel_credentials()) as client:
        with pytest.raises(CallError) as raised:
            await anext(client.iter_pages())
    assert (raised.value.connection_fault, raised.value.may_retry) == (FAULT.NOT_TLS, False)


async def test_credentials_that_are_no_pair_cannot_be_used() -> None:
    no_pair = grpc.ssl_channel_credentials(pem_of(CA), STRANGER.key, CALLER.chain)
    async with gateway(OURS) as target:
        failure = await failure_at(target, no_pair)
    assert (failure.connection_fault, failure.may_retry) == (FAULT.UNUSABLE_CREDENTIALS, False)


async def test_a_proxy_that_refuses_is_told(run: Run) -> None:
    async with saying(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as proxy:
        ended = await run("list", "--target", "gateway.example:50051", https_proxy=f"http://{proxy}")
    remedy = "no_proxy, in small letters, names hosts that are called without it"
    assert f"  hint: {FAULT.PROXY_REFUSED.value}: {remedy}" in ended.err


async def test_a_proxy_that_may_be_the_fault_is_mentioned(run: Run) -> None:
    async with nobody() as proxy, nobody() as target:
        elsewhere = await run("list", "--target", "gateway.example:50051", https_proxy=f"http://{proxy}")
        here = await run("list", "--target", target, https_proxy=f"http://{proxy}")
    assert "(https_proxy is set: the connection goes through that proxy, unless no_proxy" in elsewhere.err
    assert "https_proxy" not in here.err


@pytest.mark.parametrize(
    "message",
    [
        "Connection refused",
        "the upstream said: failed to connect to all addresses; last error: Connection refused",
        "failed to connect to all addresses; last error: UNKNOWN: something new",
        "Socket closed",
        "",
    ],
)
def test_what_is_not_known_has_no_fault(message: str) -> None:
    assert find_fault(message) is None


async def test_what_a_gateway_says_is_no_fault_of_the_connection() -> None:
    words = "failed to connect to all addresses; last error: UNKNOWN: Connection refused"
    async with scripted_gateway() as running:
        running.play((Break(pushback="-1", message=words),))
        failure = await failure_at(running.target)
    assert (failure.message, failure.connection_fault) == (words, None)


async def test_another_grpc_server_is_told_from_a_gateway(run: Run) -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    ended = await run("list", "--target", f"127.0.0.1:{port}")
    await server.stop(None)
    assert f"has no gateway.swr.v1.RepoService: is --target 127.0.0.1:{port} the gateway?" in ended.err


def test_every_fault_has_a_remedy() -> None:
    assert {*_REMEDIES, FAULT.HUNG_UP} == {*FAULT}


# What `list` is given


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedGateway]:
    async with scripted_gateway() as running:
        running.play((repos_pb2.ListReposResponse(repos=[repos_pb2.Repo(name="r")]),))
        yield running


ONE = ("--output", "csv", "--columns", "name", "--limit", "5")


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("https://gateway.example:50051", "without `https://`"),
        ("https://gateway.example:50051", "--tls encrypts"),
        ("grpc://gateway.example:50051", "without `grpc://`"),
        ("gateway.example", "has no port"),
        ("::1:50051", "[::1]:50051"),
        ("//gateway.example:50051", "host holds '/'"),
    ],
)
@pytest.mark.parametrize("by", ["flag", "variable"])
async def test_a_target_that_cannot_be_meant_is_refused(by: str, target: str, told: str, run: Run) -> None:
    if by == "flag":
        ended = await run("list", "--target", target)
    else:
        ended = await run("list", SWR_GATEWAY_TARGET=target)
    assert (ended.code, ended.out) == (2, "")
    assert "'--target' (env var: 'SWR_GATEWAY_TARGET')" in ended.err
    assert told in ended.err


@pytest.mark.parametrize("by", ["flag", "variable"])
async def test_an_authority_that_is_no_name_is_refused(by: str, run: Run) -> None:
    authority = "https://gateway.example"
    if by == "flag":
        ended = await run("list", "--authority", authority)
    else:
        ended = await run("list", SWR_GATEWAY_TARGET_AUTHORITY=authority)
    assert (ended.code, ended.out) == (2, "")
    assert "'--authority' (env var: 'SWR_GATEWAY_TARGET_AUTHORITY')" in ended.err
    assert "must be a name" in ended.err


async def test_the_environment_names_the_gateway(scripted: ScriptedGateway, run: Run) -> None:
    variables = {
        "SWR_GATEWAY_TARGET": scripted.target,
        "SWR_GATEWAY_TARGET_TOKEN": "from-environment",
        "SWR_GATEWAY_TARGET_TLS": "off",
        "SWR_GATEWAY_TOKEN": "the gateway's own",
        "SWR_GATEWAY_TLS_CERT": "the gateway's own",
    }
    assert (await run("list", *ONE, **variables)).out == "name\nr\n"
    assert (await run("list", *ONE, "--token", "from-flag", **variables)).out == "name\nr\n"
    assert [asked.metadata["x-auth-token"] for asked in scripted.asked] == ["from-environment", "from-flag"]


async def test_tls_comes_from_the_environment_too_and_the_authority_goes_with_it(files: Path, run: Run) -> None:
    variables = {
        "SWR_GATEWAY_TARGET_AUTHORITY": "gateway.example",
        "SWR_GATEWAY_TARGET_TLS_CA": str(files / "ca"),
        "SWR_GATEWAY_TARGET_TLS_CERT": str(files / "cert"),
        "SWR_GATEWAY_TARGET_TLS_KEY": str(files / "key"),
    }
    async with gateway(issue("gateway.example"), callers=True) as target:
        assert (await run("list", *ONE, "--target", target, **variables)).out == "name\nr\n"
        other = await run("list", *ONE, "--target", target, "--authority", "other.example", **variables)
    assert FAULT.CERTIFICATE_NAME.value in other.err
    async with gateway() as target:
        assert (await run("list", *ONE, "--target", target, "--no-tls", **variables)).out == "name\nr\n"


@pytest.mark.parametrize(
    ("arguments", "option", "problem"),
    [
        pytest.param(("--tls-ca", "none"), "--tls-ca", "does not exist", id="no file"),
        pytest.param(("--tls-ca", "key"), "--tls-ca", "holds no certificate in PEM", id="no authority"),
        pytest.param(("--tls-cert", "cert"), "--tls-key", "go together", id="no key"),
        pytest.param(("--tls-key", "key"), "--tls-cert", "go together", id="no certificate"),
        pytest.param(
            ("--tls-cert", "cert", "--tls-key", "stranger-key"),
            "--tls-key",
            "is not the key of the certificate in",
            id="another key",
        ),
        pytest.param(
            ("--tls-cert", "key", "--tls-key", "key"), "--tls-cert", "holds no certificate in PEM", id="key as both"
        ),
        pytest.param(
            ("--tls-cert", "cert", "--tls-key", "cert"), "--tls-", "private key in PEM", id="certificate as both"
        ),
    ],
)
async def test_files_that_cannot_be_used_are_named(
    arguments: tuple[str, ...], option: str, problem: str, files: Path, run: Run
) -> None:
    ended = await run("list", "--target", "127.0.0.1:1", *in_folder(arguments, files))
    assert (ended.code, ended.out) == (2, "")
    error = re.sub(r"\s+", " ", ended.err.partition("Error: ")[2])
    assert option in error
    assert problem in error


async def test_a_file_may_be_a_pipe(files: Path, run: Run) -> None:
    """As a shell's `<(...)` is."""
    pipe = files / "pipe"
    os.mkfifo(pipe)
    async with gateway(OURS) as target:
        listing = asyncio.ensure_future(run("list", *ONE, "--target", target, "--tls-ca", str(pipe)))
        await asyncio.to_thread(pipe.write_bytes, pem_of(CA))
        assert (await listing).out == "name\nr\n"


def test_variables_of_callers_are_known_and_none_is_a_setting() -> None:
    read = {variable for option in list_command.params for variable in (getattr(option, "envvar", None),) if variable}
    assert read == CALLER_VARIABLES
    assert CALLER_VARIABLES.isdisjoint(map(variable, Settings.model_fields))


async def test_a_gateway_and_its_callers_can_share_an_environment(run: Run) -> None:
    ended = await run("check-config", "--region", "cn-north-4", **dict.fromkeys(CALLER_VARIABLES, "x"))
    assert (ended.code, ended.err) == (0, "")
