"""Both clients, against a server that breaks calls on order."""

from __future__ import annotations

import asyncio
import copy
import json
import math
import pickle
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
import trustme
from google.protobuf.any_pb2 import Any as PackedDetail
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from in_threads import AnyClient, Kind
from patience import HOUR, Advance, until
from scripted_gateway import AT_ONCE, STALL, Break, Script, ScriptedGateway, message, packed, scripted_gateway
from stream_server import stream_server
from swr_gateway_client import MAX_RESUMES, SERVICE_CONFIG, CallError, Client, Violation
from swr_gateway_client.call_error import to_call_error
from swr_gateway_client.connection import Connection
from swr_gateway_client.progress import MAX_WAIT, MIN_WAIT, wait_before_resume
from swr_gateway_client.v1 import repos_pb2

CANARY = "canary-4711"
HOURS = "36000000"


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedGateway]:
    async with scripted_gateway() as running_server:
        yield running_server


@pytest.fixture
async def client(kind: Kind, scripted: ScriptedGateway) -> AsyncIterator[AnyClient]:
    async with kind(scripted.target) as opened:
        yield opened


@pytest.fixture
async def aclient(scripted: ScriptedGateway) -> AsyncIterator[Client]:
    async with Client(scripted.target) as opened:
        yield opened


async def names(repos: AsyncIterator[repos_pb2.Repo]) -> list[str]:
    return [repo.name async for repo in repos]


async def until_failure(repos: AsyncIterator[repos_pb2.Repo]) -> tuple[list[str], CallError]:
    """Iterate to the failure that must come; return what came before, and the failure."""
    came: list[str] = []
    try:
        async for repo in repos:
            came.append(repo.name)  # noqa: PERF401 - what came before the failure is the point
    except CallError as failure:
        return came, failure
    raise AssertionError(f"{came} and no failure")


async def failure_of(call: Awaitable[object]) -> CallError:
    with pytest.raises(CallError) as raised:
        await call
    return raised.value


async def happens(event: asyncio.Event) -> None:
    await event.wait()


# Tokens and channels


async def test_the_token_goes_with_every_call(kind: Kind, scripted: ScriptedGateway) -> None:
    scripted.play((repos_pb2.ListReposResponse(),), (AT_ONCE,), ())
    async with kind(scripted.target, token=CANARY) as client:
        await client.list_repos()
        await names(client.iter_repos())
    assert [asked.metadata["x-auth-token"] for asked in scripted.asked] == [CANARY] * 3


async def test_without_a_token_none_is_sent(scripted: ScriptedGateway, client: AnyClient) -> None:
    scripted.play((repos_pb2.ListReposResponse(),))
    await client.list_repos()
    assert "x-auth-token" not in scripted.asked[0].metadata


@pytest.mark.parametrize(
    "target",
    [
        "localhost:1",
        "gateway.example:65535",
        "127.0.0.1:50051",
        "[::1]:50051",
        "[fe80::1%eth0]:50051",
        "http:50051",
        "dns:///gateway.example:50051",
        "dns:gateway.example:50051",
        "dns://1.1.1.1/gateway.example:50051",
        "dns:///[::1]:50051",
        "unix:/run/gateway.sock",
        "unix:gateway.sock",
        "unix:///run/gateway.sock",
        "unix:/run/" + "a" * 102,
        "unix-abstract:gateway",
        "ipv4:127.0.0.1:50051,127.0.0.1:50052",
        "ipv6:[::1]:50051",
        "ipv4:///127.0.0.1:50051",
        "vsock:2:50051",
        "xds:///gateway.example",
    ],
)
def test_a_target_may_be_any_name_that_grpc_resolves(target: str) -> None:
    assert repr(Client(target)) == f"Client({target!r})"


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("http://gateway.example:50051", "without `http://`"),
        ("https://gateway.example:50051", "without `https://`"),
        ("grpc://gateway.example:50051", "without `grpc://`"),
        ("passthrough:///gateway.example:50051", "without `passthrough://`"),
        ("HTTPS://gateway.example", "without `HTTPS://`"),
        ("gateway.example", "has no port"),
        ("gateway.example:", "has no port"),
        ("dns:///gateway.example", "has no port"),
        ("127.0.0.1", "has no port"),
        ("[::1]", "has no port"),
        ("ipv4:127.0.0.1", "has no port"),
        ("ipv6:[::1]", "has no port"),
        ("ipv4:127.0.0.1:50051,127.0.0.2", "has no port"),
        ("ipv4:127.0.0.1:http", "port must be a number from 1 to 65535"),
        ("::1", "[::1]:50051"),
        ("::1:50051", "more than one colon"),
        ("tcp:gateway.example:50051", "more than one colon"),
        ("gateway.example:50051,other.example:50051", "more than one colon"),
        ("unix:", "has no path"),
        ("unix:///", "has no path"),
        ("unix://gateway.sock", "two slashes"),
        ("unix:/run/" + "a" * 103, "at most 107 bytes"),
        ("unix:/run/a#b", "no #, ? or %"),
        ("unix:/run/a?b", "no #, ? or %"),
        ("unix:/run/a%20b", "no #, ? or %"),
        ("gateway.example:http", "port must be a number from 1 to 65535"),
        ("gateway.example:0", "port must be a number from 1 to 65535"),
        ("gateway.example:65536", "port must be a number from 1 to 65535"),
        ("gateway.example:99999999999", "port must be a number from 1 to 65535"),
        ("gateway.example:٣", "port must be a number from 1 to 65535"),
        ("gateway.example:50051/path", "port must be a number from 1 to 65535"),
        ("//gateway.example:50051", "host holds '/'"),
        ("gateway.example/:50051", "host holds '/'"),
        ("user@gateway.example:50051", "host holds '@'"),
        ("a.example,b.example:50051", "host holds ','"),
        (" gateway.example:50051", "host holds ' '"),
        ("gateway.example\u200b:50051", "host holds '\\u200b'"),
        ("dns:///gateway example:50051", "host holds ' '"),
        (":50051", "has no host"),
        ("", "has no host"),
    ],
)
def test_a_target_that_cannot_be_meant_is_refused_at_once(target: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"^the target") as raised:
        Client(target)
    assert problem in str(raised.value)
    assert "must be host:port" in str(raised.value)


@pytest.mark.parametrize(
    "target",
    [
        "localhost:{port}",
        "LocalHost:{port}",
        "127.0.0.1:{port}",
        "[::ffff:127.0.0.1]:{port}",
        "ipv4:127.0.0.1:{port},127.0.0.1:{port}",
    ],
)
async def test_a_gateway_on_this_machine_is_not_asked_for_through_a_proxy(
    kind: Kind, target: str, scripted: ScriptedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.play((repos_pb2.ListReposResponse(),))
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    port = scripted.target.rpartition(":")[2]
    async with kind(target.format(port=port), wait_for_ready=False) as client:
        await client.list_repos()
    assert len(scripted.asked) == 1


async def test_a_gateway_elsewhere_is_asked_for_through_the_proxy_of_the_environment(
    kind: Kind,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What gRPC does by itself stays as it is."""
    asked: asyncio.Queue[bytes] = asyncio.Queue()

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.put_nowait(await reader.readline())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    async with stream_server(proxy) as port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        async with kind("gateway.example:50051", wait_for_ready=False) as client:
            failure = await failure_of(client.list_repos())
    assert "HTTP proxy returned response code 403" in failure.message
    assert await asked.get() == b"CONNECT gateway.example:50051 HTTP/1.1\r\n"


async def test_the_authority_stands_in_for_the_targets_name(kind: Kind) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("gateway.example")
    pair = (issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())
    trusted = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    async with scripted_gateway(credentials=grpc.ssl_server_credentials([pair])) as scripted:
        scripted.play((repos_pb2.ListReposResponse(),))
        async with kind(scripted.target, tls=trusted, authority="gateway.example") as client:
            await client.list_repos()
        async with kind(scripted.target, tls=trusted, wait_for_ready=False) as client:
            failure = await failure_of(client.list_repos())
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert len(scripted.asked) == 1


@pytest.mark.parametrize(
    "authority", ["", "https://gateway.example", "gateway.example/", "a@b", "a b", "a,b", "a\n", "\x7f"], ids=ascii
)
def test_an_authority_that_is_no_name_is_refused_at_once(authority: str) -> None:
    with pytest.raises(ValueError, match=r"^the authority must be a name, as in gateway\.example, and not ") as raised:
        Client("localhost:1", authority=authority)
    assert str(raised.value).endswith(f" {authority!a}")


@pytest.mark.parametrize("authority", ["gateway.example", "gateway.example:50051", "[::1]:50051", "a_b", "localhost"])
def test_any_name_may_be_the_authority(authority: str) -> None:
    assert repr(Client("localhost:1", authority=authority)) == "Client('localhost:1')"


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "a\x00", "é", "\x7f"], ids=ascii)
def test_a_token_that_cannot_be_sent_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII") as raised:
        Client("localhost:1", token=CANARY + token if token else "")
    assert CANARY not in str(raised.value)


def test_a_client_does_not_show_its_token() -> None:
    client = Client("localhost:1", token=CANARY)
    assert repr(client) == "Client('localhost:1')"
    assert CANARY not in f"{client} {client!r}"


async def test_a_client_that_is_not_open_says_so(kind: Kind) -> None:
    client = kind("localhost:1")
    async with client:
        pass
    with pytest.raises(RuntimeError, match="not open"):
        await client.list_repos()
    with pytest.raises(RuntimeError, match="not open"):
        client.iter_pages()
    with pytest.raises(RuntimeError, match="not open"):
        await names(client.iter_repos())


async def test_a_client_is_entered_once_at_a_time(scripted: ScriptedGateway, client: AnyClient) -> None:
    scripted.play((repos_pb2.ListReposResponse(),))
    with pytest.raises(RuntimeError, match="open already"):
        await client.__aenter__()
    await client.list_repos()


async def test_a_number_that_does_not_fit_is_the_callers_mistake(client: AnyClient) -> None:
    with pytest.raises(ValueError, match="range"):
        await client.list_repos(offset=2**31, limit=1)
    with pytest.raises(ValueError, match="range"):
        client.iter_pages(start_offset=2**31)


async def test_a_client_may_be_opened_again(kind: Kind, scripted: ScriptedGateway) -> None:
    scripted.play((repos_pb2.ListReposResponse(),))
    client = kind(scripted.target)
    for _ in range(2):
        async with client:
            await client.list_repos()
    assert len(scripted.asked) == 2


@pytest.mark.parametrize("target", ["127.0.0.1:0", "unix:{folder}/gateway.sock"])
async def test_calls_go_over_tls(kind: Kind, target: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    pair = (issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())
    trusted = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    address = target.format(folder=tmp_path)
    async with scripted_gateway(address, grpc.ssl_server_credentials([pair])) as scripted:
        scripted.play((repos_pb2.ListReposResponse(),))
        async with kind(scripted.target, tls=trusted) as client:
            await client.list_repos()
    assert len(scripted.asked) == 1


LARGE = repos_pb2.Repo(description="long " * 1_000_000)


async def test_a_page_of_more_than_4_mib_is_accepted(scripted: ScriptedGateway, client: AnyClient) -> None:
    scripted.play((repos_pb2.ListReposResponse(repos=[LARGE]),), (repos_pb2.StreamReposResponse(repos=[LARGE]),))
    assert (await client.list_repos()).repos[0] == LARGE
    assert [repo async for repo in client.iter_repos()] == [LARGE]


async def test_the_callers_options_win(kind: Kind, scripted: ScriptedGateway) -> None:
    scripted.play((repos_pb2.ListReposResponse(repos=[LARGE]),))
    async with kind(scripted.target, options=(("grpc.max_receive_message_length", 1000),)) as client:
        failure = await failure_of(client.list_repos())
    assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED


# Deadlines and retries of ListRepos


async def test_a_call_has_the_clients_deadline_or_its_own(kind: Kind, scripted: ScriptedGateway) -> None:
    scripted.play((repos_pb2.ListReposResponse(),))
    async with kind(scripted.target) as usual, kind(scripted.target, timeout=3600.0) as patient:
        await usual.list_repos()
        await patient.list_repos()
        await patient.list_repos(timeout=600.0)
    first, second, third = (asked.seconds or 0.0 for asked in scripted.asked)
    assert 0 < first < 100 < third < 1000 < second


@pytest.mark.parametrize("timeout", [math.inf, 1e10, 1e300], ids=str)
async def test_a_deadline_that_never_comes_is_none_that_has_passed(
    timeout: float, kind: Kind, scripted: ScriptedGateway
) -> None:
    scripted.play((repos_pb2.ListReposResponse(),), (repos_pb2.ListReposResponse(),), (message(0),))
    async with kind(scripted.target, timeout=timeout) as client:
        await client.list_repos()
        await client.list_repos(timeout=timeout)
        assert await names(client.iter_repos(timeout=timeout)) == ["0", "1"]


async def test_a_deadline_that_passes_ends_the_call(scripted: ScriptedGateway, client: AnyClient) -> None:
    scripted.play((STALL,))
    failure = await failure_of(client.list_repos(timeout=0.2))
    assert (failure.code, failure.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "")


async def test_a_call_that_is_cancelled_is_cancelled_at_the_server(scripted: ScriptedGateway, aclient: Client) -> None:
    scripted.play((STALL,))
    call = asyncio.create_task(aclient.list_repos())
    await happens(scripted.stalled)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await happens(scripted.cancelled)


async def test_an_unavailable_gateway_is_asked_again(scripted: ScriptedGateway, client: AnyClient) -> None:
    scripted.play((Break(),), (Break(pushback="10"),), (repos_pb2.ListReposResponse(),))
    await client.list_repos()
    assert len(scripted.asked) == 3


@pytest.mark.parametrize(
    ("broken", "attempts"),
    [
        pytest.param(Break(), 3, id="three in all"),
        pytest.param(Break(pushback="-1"), 1, id="not against its will"),
        pytest.param(Break(grpc.StatusCode.INTERNAL), 1, id="not after another status"),
    ],
)
async def test_a_call_fails_when_its_attempts_are_used_up(
    broken: Break, attempts: int, scripted: ScriptedGateway, client: AnyClient
) -> None:
    scripted.play((broken,))
    assert (await failure_of(client.list_repos())).code is broken.code
    assert len(scripted.asked) == attempts


def test_the_service_config_is_one_for_stubs_in_any_language() -> None:
    config = json.loads(SERVICE_CONFIG)
    (method,) = config["methodConfig"]
    assert method["name"] == [{"service": "gateway.swr.v1.RepoService", "method": "ListRepos"}]
    assert method["waitForReady"]
    assert method["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert config["retryThrottling"] == {"maxTokens": 1000, "tokenRatio": 0.1}


# StreamRepos


async def test_a_stream_asks_for_what_was_wanted(scripted: ScriptedGateway, client: AnyClient) -> None:
    scripted.play(())
    wanted = repos_pb2.RepoFilter(center=repos_pb2.CENTER_THIRD_PARTY, namespace="n", name="m", category="c")
    clauses: dict[str, Any] = {"center": wanted.center, "namespace": "n", "name": "m", "category": "c"}
    await names(client.iter_repos(**clauses, page_size=7, start_offset=3))
    await names(client.iter_repos())
    full, bare = (asked.request for asked in scripted.asked)
    assert full == repos_pb2.StreamReposRequest(filter=wanted, page_size=7, start_offset=3)
    assert (bare.filter.center, bare.HasField("page_size"), bare.start_offset) == (repos_pb2.CENTER_SELF, False, 0)


async def test_pages_and_repositories_come_in_order(scripted: ScriptedGateway, client: AnyClient) -> None:
    scripted.play((message(0), message(2, 0), message(2, 3)))
    assert [page async for page in client.iter_pages()] == [message(0), message(2, 0), message(2, 3)]
    assert await names(client.iter_repos()) == ["0", "1", "2", "3", "4"]


RETRY_NOW = error_details_pb2.RetryInfo(retry_delay=Duration())


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(AT_ONCE, id="pushback"),
        pytest.param(Break(details=(RETRY_NOW,)), id="retry info"),
        pytest.param(Break(), id="no hint"),
        pytest.param(
            Break(pushback="0", details=(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=9**9)),)), id="both"
        ),
    ],
)
async def test_a_broken_stream_goes_on_behind_its_last_message(
    broken: Break, scripted: ScriptedGateway, client: AnyClient
) -> None:
    scripted.play((message(0), message(2), broken), (message(4),))
    assert await names(client.iter_repos(name="x", page_size=2)) == ["0", "1", "2", "3", "4", "5"]
    first, second = (asked.request for asked in scripted.asked)
    assert (first.start_offset, second.start_offset) == (0, 4)
    assert (first.filter, first.page_size) == (second.filter, second.page_size)


async def test_a_stream_that_breaks_before_its_first_message_starts_where_it_should(
    scripted: ScriptedGateway, client: AnyClient
) -> None:
    scripted.play((AT_ONCE,), (message(10),))
    assert await names(client.iter_repos(start_offset=10)) == ["10", "11"]
    assert scripted.offsets == [10, 10]


async def test_a_stream_is_resumed_so_often_and_no_more(scripted: ScriptedGateway, client: AnyClient) -> None:
    scripted.play((message(0), AT_ONCE), (AT_ONCE,))
    came, failure = await until_failure(client.iter_repos())
    assert came == ["0", "1"]
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert isinstance(failure.__cause__, grpc.RpcError)
    assert scripted.offsets == [0] + [2] * MAX_RESUMES


async def test_a_message_lets_the_count_begin_again(scripted: ScriptedGateway, client: AnyClient) -> None:
    breaks: list[Script] = [(AT_ONCE,)] * MAX_RESUMES
    scripted.play(*breaks, (message(0), AT_ONCE), *breaks[1:], (message(2),))
    assert await names(client.iter_repos()) == ["0", "1", "2", "3"]


async def test_a_message_that_leads_no_further_does_not(scripted: ScriptedGateway, client: AnyClient) -> None:
    scripted.play((message(0, 0), AT_ONCE))
    await until_failure(client.iter_repos())
    assert scripted.offsets == [0] * (1 + MAX_RESUMES)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(Break(grpc.StatusCode.CANCELLED), id="a server that stops"),
        pytest.param(
            Break(grpc.StatusCode.ABORTED, details=(error_details_pb2.ErrorInfo(reason="SLOW_READER"),)),
            id="a reader that paused",
        ),
        pytest.param(Break(grpc.StatusCode.INTERNAL, message="Received RST_STREAM with error code 2"), id="a reset"),
        pytest.param(
            Break(
                grpc.StatusCode.INTERNAL, message="Stream removed (RST_STREAM (Received RST_STREAM with error code 2))"
            ),
            id="a reset that removed a stream",
        ),
    ],
)
async def test_a_stream_that_was_broken_off_on_the_way_is_resumed(
    broken: Break, scripted: ScriptedGateway, client: AnyClient
) -> None:
    scripted.play((message(0), broken), (message(2),))
    assert await names(client.iter_repos()) == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("code", "text"), [(grpc.StatusCode.INTERNAL, "broken"), (grpc.StatusCode.UNKNOWN, "Received RST_STREAM")]
)
async def test_a_stream_that_ends_with_words_of_its_own_was_not(
    code: grpc.StatusCode, text: str, scripted: ScriptedGateway, client: AnyClient
) -> None:
    scripted.play((message(0), Break(code, message=text)))
    _, failure = await until_failure(client.iter_repos())
    assert not failure.may_retry


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.name not in {"OK", "UNAVAILABLE"}])
async def test_a_stream_that_ends_with_another_status_is_not_resumed(
    code: grpc.StatusCode, scripted: ScriptedGateway, client: AnyClient
) -> None:
    scripted.play((message(0), Break(code, pushback="0", details=(RETRY_NOW,))))
    came, failure = await until_failure(client.iter_repos())
    assert came == ["0", "1"]
    assert failure.code is code
    assert len(scripted.asked) == 1


NEVER = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=-1))


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(Break(pushback="-1"), id="negative pushback"),
        pytest.param(Break(pushback="-1", details=(NEVER,)), id="negative pushback and delay"),
        pytest.param(Break(pushback="-1", details=(RETRY_NOW,)), id="negative pushback beside a delay"),
        pytest.param(Break(pushback="soon"), id="unreadable pushback"),
        pytest.param(Break(details=(NEVER,)), id="negative delay"),
    ],
)
async def test_a_server_that_wants_to_be_left_alone_is(
    broken: Break, scripted: ScriptedGateway, client: AnyClient
) -> None:
    scripted.play((message(0), broken))
    came, failure = await until_failure(client.iter_repos())
    assert came == ["0", "1"]
    assert (failure.code, failure.may_retry) == (grpc.StatusCode.UNAVAILABLE, False)
    assert len(scripted.asked) == 1


async def test_a_wait_past_the_deadline_is_not_begun(scripted: ScriptedGateway, client: AnyClient) -> None:
    scripted.play((message(0), Break(pushback=HOURS)))
    came, failure = await until_failure(client.iter_repos(timeout=3600.0))
    assert came == ["0", "1"]
    assert (failure.code, failure.retry_delay) == (grpc.StatusCode.UNAVAILABLE, 36_000.0)
    assert len(scripted.asked) == 1


async def test_the_deadline_spans_all_resumes(scripted: ScriptedGateway, aclient: Client, advance: Advance) -> None:
    scripted.play((message(0), Break(pushback="0")), (message(2),))
    pages = aclient.iter_pages(timeout=HOUR)
    await anext(pages)
    advance(HOUR / 2)
    await anext(pages)
    await pages.aclose()
    first, second = (asked.seconds or 0.0 for asked in scripted.asked)
    assert 0 < second < first * 0.6  # gRPC rounds by a hundredth


async def test_a_stream_has_no_deadline_unless_it_is_given_one(kind: Kind, scripted: ScriptedGateway) -> None:
    scripted.play((AT_ONCE,), ())
    async with kind(scripted.target, timeout=5.0) as client:
        await names(client.iter_repos())
    assert [asked.seconds for asked in scripted.asked] == [None, None]


async def test_a_stream_ends_when_its_deadline_passes(scripted: ScriptedGateway, client: AnyClient) -> None:
    scripted.play((message(0), STALL))
    came: list[str] = []
    while not came:  # on a busy machine the time may end before the first message has come
        scripted.asked.clear()
        came, failure = await until_failure(client.iter_repos(timeout=0.5))
        assert failure.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert came == ["0", "1"]
    assert len(scripted.asked) == 1


# A repository whose name is no UTF-8.
UNREADABLE = b"\x0a\x03\x0a\x01\xff"


async def test_a_message_that_cannot_be_read_is_a_failure_and_not_the_end(
    scripted: ScriptedGateway, client: AnyClient, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.play((UNREADABLE,), (message(0), UNREADABLE, message(4)))
    failure = await failure_of(client.list_repos())
    assert (str(failure), failure.may_retry) == ("INTERNAL: the reply is no message of the protocol", False)
    came, failure = await until_failure(client.iter_repos())
    assert came == ["0", "1"]
    assert (str(failure), failure.may_retry) == ("INTERNAL: the reply is no message of the protocol", False)
    assert not caplog.records


async def test_a_lost_connection_is_made_again(kind: Kind, tmp_path: Path) -> None:
    target = f"unix:{tmp_path}/s"
    async with kind(target) as client, aclosing(client.iter_pages()) as pages:
        async with scripted_gateway(target) as before:
            before.play((message(0), STALL))
            assert await anext(pages) == message(0)
        async with scripted_gateway(target) as after:
            after.play((message(2),))
            assert [page async for page in pages] == [message(2)]
    assert after.offsets == [2]


Iterate: TypeAlias = Callable[[AnyClient], AsyncGenerator[Any, None]]


@pytest.fixture(params=["pages", "repos"])
def iterate(request: pytest.FixtureRequest) -> Iterate:
    if request.param == "pages":
        return lambda client: client.iter_pages()
    return lambda client: client.iter_repos()


async def test_who_stops_iterating_cancels_the_call(
    iterate: Iterate, scripted: ScriptedGateway, client: AnyClient
) -> None:
    scripted.play((message(0, 1), message(1, 1), STALL))
    async with aclosing(iterate(client)) as iterator:
        async for _ in iterator:
            await happens(scripted.stalled)
            break
    await happens(scripted.cancelled)


async def test_who_is_cancelled_while_waiting_for_a_message_cancels_the_call(
    iterate: Iterate, scripted: ScriptedGateway, aclient: Client
) -> None:
    scripted.play((STALL,))
    waiting = asyncio.ensure_future(anext(iterate(aclient)))
    await happens(scripted.stalled)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await happens(scripted.cancelled)


async def test_a_wait_that_the_server_asked_for_can_be_cancelled(scripted: ScriptedGateway, aclient: Client) -> None:
    scripted.play((Break(pushback="25000"),), (repos_pb2.ListReposResponse(),))
    waiting = asyncio.create_task(names(aclient.iter_repos()))
    await until(lambda: bool(scripted.asked))
    await aclient.list_repos()  # over the same connection: what was answered before has come
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(scripted.asked) == 2


# Leaving the client


async def test_an_iterator_that_is_first_used_after_the_client_closed_says_so(
    kind: Kind, iterate: Iterate, scripted: ScriptedGateway
) -> None:
    scripted.play((message(0),))
    client = kind(scripted.target)
    async with client:
        iterator = iterate(client)
    with pytest.raises(RuntimeError, match="not open"):
        await anext(iterator)
    assert scripted.asked == []


async def test_an_iterator_that_is_first_used_when_the_client_is_open_again_works(
    kind: Kind, iterate: Iterate, scripted: ScriptedGateway
) -> None:
    scripted.play((message(0, 1),))
    client = kind(scripted.target)
    async with client:
        iterator = iterate(client)
    async with client:
        assert len([one async for one in iterator]) == 1


async def list_once(client: AnyClient) -> object:
    return await client.list_repos()


async def iterate_pages(client: AnyClient) -> object:
    return [page async for page in client.iter_pages()]


async def iterate_repos(client: AnyClient) -> object:
    return await names(client.iter_repos())


UnderWay: TypeAlias = Callable[[AnyClient], Coroutine[None, None, object]]


async def leave(kind: Kind, target: str, call: UnderWay, when: UnderWay) -> list[str]:
    """Leave a client under a call; return what a task group heard of it, and whether to try again."""
    try:
        async with asyncio.TaskGroup() as tasks, kind(target) as client:
            tasks.create_task(call(client))
            await when(client)
    except ExceptionGroup as failed:
        return [f"{one}, {one.may_retry}" for one in failed.exceptions if isinstance(one, CallError)]
    return []


@pytest.mark.parametrize(
    ("call", "script"),
    [
        pytest.param(list_once, (STALL,), id="unary"),
        pytest.param(iterate_pages, (STALL,), id="stream before its first message"),
        pytest.param(iterate_repos, (message(0), STALL), id="stream behind a message"),
    ],
)
async def test_closing_under_a_call_is_a_failure_of_the_call_and_no_cancellation(
    kind: Kind, call: UnderWay, script: Script, scripted: ScriptedGateway
) -> None:
    scripted.play(script)
    told = await leave(kind, scripted.target, call, lambda _: happens(scripted.stalled))
    assert told == ["CANCELLED: the client was closed, False"]
    await happens(scripted.cancelled)


async def test_closing_between_two_tries_of_a_stream_is_a_failure_too(
    kind: Kind, iterate: Iterate, scripted: ScriptedGateway
) -> None:
    scripted.play((message(0, 1), Break(pushback="25000")), (repos_pb2.ListReposResponse(),))
    arrived = asyncio.Event()

    async def drain(client: AnyClient) -> None:
        async for _ in iterate(client):
            arrived.set()

    async def broke_off(client: AnyClient) -> None:
        await happens(arrived)
        await client.list_repos()  # its reply comes behind the end of the stream

    assert await leave(kind, scripted.target, drain, broke_off) == ["CANCELLED: the client was closed, False"]
    assert len(scripted.asked) == 2


async def test_a_pause_ends_when_the_client_closes() -> None:
    connection = Connection(grpc.aio.insecure_channel("localhost:1"))
    pause = asyncio.create_task(connection.pause(3600.0))
    await connection.close()
    assert str(await failure_of(pause)) == "CANCELLED: the client was closed"


async def test_an_iterator_goes_no_further_when_the_client_is_closed(
    kind: Kind, iterate: Iterate, scripted: ScriptedGateway
) -> None:
    scripted.play((message(0, 1), STALL))
    async with kind(scripted.target) as client:
        iterator = iterate(client)
        await anext(iterator)
        await happens(scripted.stalled)
    with pytest.raises(CallError, match="CANCELLED: the client was closed"):
        await anext(iterator)


async def test_a_task_that_is_cancelled_while_the_client_closes_is_cancelled(scripted: ScriptedGateway) -> None:
    scripted.play((STALL,))
    async with Client(scripted.target) as client:
        call = asyncio.create_task(list_once(client))
        await happens(scripted.stalled)
        call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_timeout_around_a_call_is_still_a_timeout_when_the_client_closes(scripted: ScriptedGateway) -> None:
    scripted.play((STALL,))

    async def call_for_a_limited_time() -> None:
        async with asyncio.timeout(None) as limit, Client(scripted.target) as client:
            arrival = asyncio.create_task(happens(scripted.stalled))
            arrival.add_done_callback(lambda _: limit.reschedule(asyncio.get_running_loop().time()))
            await client.list_repos()

    with pytest.raises(TimeoutError):
        await call_for_a_limited_time()


def unavailable() -> CallError:
    return CallError(grpc.StatusCode.UNAVAILABLE, "")


def test_waits_grow_and_differ_within_their_bounds() -> None:
    waits = [[wait_before_resume(unavailable(), resumes) for _ in range(1000)] for resumes in range(MAX_RESUMES)]
    assert all(MIN_WAIT <= wait <= MAX_WAIT for several in waits for wait in several)
    assert all(len(set(several)) > 900 for several in waits)
    assert [max(several) for several in waits] == sorted(max(several) for several in waits)


# CallError


def received(code: grpc.StatusCode, message: str | None, *trailers: tuple[str, str | bytes]) -> CallError:
    return to_call_error(grpc.aio.AioRpcError(code, None, grpc.aio.Metadata(*trailers), message))


DETAILS = "grpc-status-details-bin"
INFO = error_details_pb2.ErrorInfo(reason="WHY", domain="gateway.swr.v1", metadata={"httpStatus": "503"})


def test_all_details_are_read() -> None:
    broken = error_details_pb2.BadRequest.FieldViolation(field="limit", description="must be less")
    details = packed(
        grpc.StatusCode.UNAVAILABLE,
        "no",
        INFO,
        error_details_pb2.BadRequest(field_violations=[broken]),
        error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000)),
        error_details_pb2.RequestInfo(request_id="ours", serving_data="theirs"),
        error_details_pb2.DebugInfo(detail="ignored"),
    )
    failure = received(grpc.StatusCode.UNAVAILABLE, "no", ("x-request-id", "of the trailer"), (DETAILS, details))
    assert vars(failure) == {
        "code": grpc.StatusCode.UNAVAILABLE,
        "message": "no",
        "reason": "WHY",
        "metadata": {"httpStatus": "503"},
        "violations": (Violation("limit", "must be less"),),
        "retry_delay": 1.5,
        "may_retry": True,
        "request_id": "ours",
        "upstream_request_id": "theirs",
        "connection_fault": None,
    }


def with_a_broken_detail() -> bytes:
    status = Status(code=grpc.StatusCode.NOT_FOUND.value[0], message="no")
    status.details.append(PackedDetail(type_url="type.googleapis.com/google.rpc.RetryInfo", value=b"\xff\xff"))
    status.details.add().Pack(INFO)
    return status.SerializeToString()


NO_IDS = packed(grpc.StatusCode.NOT_FOUND, "no", error_details_pb2.RequestInfo())


@pytest.mark.parametrize(
    ("trailers", "reason", "request_id"),
    [
        pytest.param((), "", "", id="none"),
        pytest.param((("x-request-id", "r"),), "", "r", id="request id alone"),
        pytest.param((("x-request-id", "r"), (DETAILS, b"\xff\xff")), "", "r", id="not a status"),
        pytest.param((("x-request-id", "r"), (DETAILS, b"\x12\x01\xff")), "", "r", id="not UTF-8"),
        pytest.param((("x-request-id", "r"), (DETAILS, b"")), "", "r", id="empty"),
        pytest.param(((DETAILS, packed(grpc.StatusCode.INTERNAL, "no", INFO)),), "", "", id="another code"),
        pytest.param(((DETAILS, packed(grpc.StatusCode.NOT_FOUND, "yes", INFO)),), "", "", id="another message"),
        pytest.param(((DETAILS, with_a_broken_detail()),), "WHY", "", id="one is broken"),
        pytest.param((("x-request-id", "r"), (DETAILS, NO_IDS)), "", "r", id="ids are empty"),
    ],
)
def test_details_that_are_missing_or_broken_are_left_out(
    trailers: tuple[tuple[str, str | bytes], ...], reason: str, request_id: str
) -> None:
    failure = received(grpc.StatusCode.NOT_FOUND, "no", *trailers)
    assert (failure.code, failure.message) == (grpc.StatusCode.NOT_FOUND, "no")
    assert (failure.reason, failure.request_id) == (reason, request_id)
    assert (failure.retry_delay, failure.may_retry, failure.violations) == (None, False, ())


def test_a_failure_without_a_message_or_trailers_is_one_too() -> None:
    failure = to_call_error(grpc.aio.AioRpcError(grpc.StatusCode.UNKNOWN))
    assert (str(failure), failure.message) == ("UNKNOWN: ", "")


@pytest.mark.parametrize("seconds", [0, 1, 2**63 - 1])
def test_a_delay_of_any_length_can_be_read(seconds: int) -> None:
    delay = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=seconds))
    failure = received(grpc.StatusCode.UNAVAILABLE, "no", (DETAILS, packed(grpc.StatusCode.UNAVAILABLE, "no", delay)))
    assert failure.retry_delay == float(seconds)


def test_the_text_of_a_failure_is_one_line() -> None:
    failure = received(grpc.StatusCode.INTERNAL, "one\r\ntwo\u2028three  four")
    assert str(failure) == "INTERNAL: one two three four"
    assert failure.message == "one\r\ntwo\u2028three  four"


@pytest.mark.parametrize("duplicate", [copy.copy, lambda failure: pickle.loads(pickle.dumps(failure))])
def test_a_failure_passes_between_processes(duplicate: Callable[[CallError], CallError]) -> None:
    details = packed(grpc.StatusCode.NOT_FOUND, "no", INFO)
    failure = received(grpc.StatusCode.NOT_FOUND, "no", (DETAILS, details))
    assert vars(duplicate(failure)) == vars(failure)
    assert str(duplicate(failure)) == str(failure)
