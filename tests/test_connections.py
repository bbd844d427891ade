"""Connections themselves: pings, their age, and what channelz tells of them."""

from __future__ import annotations

import asyncio
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2
from grpc_channelz.v1.channelz_pb2_grpc import ChannelzStub

from certificates import CA, Pair, issue, pem_of
from conftest import Serve
from failures import failure_of
from gateway.core.service import SERVICE_NAME
from gateway.server import options
from gateway.server.options import KEEPALIVE_TIME, server_options
from gateway.settings.model import Settings
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from http2 import ENHANCE_YOUR_CALM, MAX_CONCURRENT_STREAMS, NO_ERROR, REFUSED_STREAM, Goaway, Kind, peer
from patience import let_pass
from scripted_upstream import ScriptedUpstream, page

REQUEST = repos_pb2.ListReposRequest()


# Pings


def set_least_interval(monkeypatch: pytest.MonkeyPatch, milliseconds: int) -> None:
    """Have a gateway put up with pings that come no more often than that."""
    fixed = dict(options._FIXED) | {"grpc.http2.min_ping_interval_without_data_ms": milliseconds}
    monkeypatch.setattr(options, "_FIXED", tuple(fixed.items()))


async def test_who_pings_far_too_often_is_cut_off_and_told_why(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    set_least_interval(monkeypatch, 3_600_000)
    async with peer((await serve()).address) as client:
        for _ in range(10):
            goaway = await client.ping()
            if goaway is not None:
                break
        assert goaway == Goaway(ENHANCE_YOUR_CALM, b"too_many_pings")


async def test_who_pings_as_a_proxy_does_is_not_cut_off(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two strikes are forgiven; a ping after the least interval is none, as it would be with gRPC's own defaults."""
    set_least_interval(monkeypatch, 300)
    async with peer((await serve()).address) as client:
        for _ in range(3):
            assert await client.ping() is None
        await let_pass(0.4)
        assert await client.ping() is None


def test_pings_of_proxies_are_not_too_many_and_ours_are_sent_before_load_balancers_hang_up() -> None:
    options = dict(server_options(Settings(), shares_port=False))
    # Envoy and gRPC's clients ping every 10 s at the fastest, give or take a bit.
    assert options["grpc.http2.min_ping_interval_without_data_ms"] <= 5_000
    assert options["grpc.keepalive_permit_without_calls"] == 1
    # Some load balancers drop what was idle for a minute.
    assert KEEPALIVE_TIME < 60_000
    assert options["grpc.keepalive_time_ms"] == KEEPALIVE_TIME


def test_calls_are_not_dropped_for_having_waited_for_the_event_loop() -> None:
    """By default gRPC drops them after 30 s, with a bare CANCELLED."""
    assert dict(server_options(Settings(), shares_port=False))["grpc.server_max_unrequested_time_in_server"] > 3600


def test_grpc_knows_all_options() -> None:
    """It says nothing of those that it does not know."""
    library = import_module("grpc._cython.cygrpc").__file__
    assert library is not None
    known = Path(library).read_bytes()
    given = dict(server_options(Settings(), shares_port=False))
    assert [name for name in given if name.encode() + b"\0" not in known] == []


# Age

AGE = "grpc.max_connection_age_ms"


async def test_a_connection_of_age_ends_with_the_words_of_it(serve: Serve) -> None:
    async with peer((await serve(max_connection_age="200ms")).address) as client:
        assert await client.end() == Goaway(NO_ERROR, b"max_age")


def channelz_stub(channel: grpc.aio.Channel) -> Any:
    """The library's stubs know no methods."""
    stub: Any = ChannelzStub
    return stub(channel)


async def servers(channel: grpc.aio.Channel) -> list[Any]:
    """Return all servers of this process, those of tests before among them that are not collected yet."""
    found: list[Any] = []
    request = channelz_pb2.GetServersRequest()
    while True:
        page = await channelz_stub(channel).GetServers(request)
        found += page.server
        if page.end:
            return found
        request.start_server_id = found[-1].ref.server_id + 1


async def connections(channel: grpc.aio.Channel) -> set[int]:
    """Return the connections to all servers of this process, by the numbers that channelz gives them."""
    stub = channelz_stub(channel)
    found: set[int] = set()
    for server in await servers(channel):
        request = channelz_pb2.GetServerSocketsRequest(server_id=server.ref.server_id)
        found |= {socket.socket_id for socket in (await stub.GetServerSockets(request)).socket_ref}
    return found


async def test_no_call_fails_when_connections_are_of_age_and_a_long_one_outlives_its_own(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    release = asyncio.Event()
    upstream.play((release, page('[{"name":"late"}]')), page("[]"))
    served = await serve(max_connection_age="200ms", channelz=True)
    late = served.stub.StreamRepos(repos_pb2.StreamReposRequest())
    await upstream.all_arrived(1)
    first = await connections(served.channel)
    seen = set(first)
    while len(seen) < len(first) + 3:
        seen |= await connections(served.channel)
        assert await served.stub.ListRepos(REQUEST) == repos_pb2.ListReposResponse()
    release.set()
    (message,) = [message async for message in late]
    assert message.repos[0].name == "late"


@pytest.mark.parametrize(
    ("given", "milliseconds"),
    [
        pytest.param("5m", 300_000, id="as it is by default"),
        pytest.param("500ms", 500, id="less than a second"),
        pytest.param("600h", 2**31 - 1, id="more than gRPC can count"),
        pytest.param("250000h", 2**31 - 1, id="the most"),
    ],
)
def test_the_age_in_milliseconds(given: str, milliseconds: int) -> None:
    options = dict(server_options(Settings.model_validate({"max_connection_age": given}), shares_port=False))
    assert options[AGE] == milliseconds


@pytest.mark.parametrize(
    ("given", "milliseconds"),
    [
        pytest.param({"max_connection_age": "5m"}, 600_000, id="ten minutes"),
        pytest.param(
            {"max_connection_age": "5m", "max_connection_age_grace": "600h"}, 2**31 - 1, id="more than gRPC can count"
        ),
        pytest.param({"max_connection_age": "5m", "max_connection_age_grace": "0s"}, None, id="as long as calls take"),
        pytest.param({}, None, id="no age"),
    ],
)
def test_the_grace_of_calls_behind_that_age(given: dict[str, str], milliseconds: int | None) -> None:
    options = dict(server_options(Settings.model_validate(given), shares_port=False))
    assert options.get("grpc.max_connection_age_grace_ms") == milliseconds


async def test_a_reader_that_stands_still_does_not_keep_a_connection_of_age(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    upstream.play(page('[{"name":"a"}]'))
    served = await serve(max_connection_age="100ms", max_connection_age_grace="100ms")
    async with peer(served.address, window=0) as client:
        client.call(f"/{SERVICE_NAME}/StreamRepos", b"")
        assert await client.end() == Goaway(NO_ERROR, b"max_age")
        await client.closed()


async def test_a_connection_carries_so_many_calls_at_once(serve: Serve) -> None:
    async with peer((await serve(max_concurrent_streams=2)).address, window=0) as client:
        assert (await client.settings())[MAX_CONCURRENT_STREAMS] == 2
        await client.ping()
        *_, refused = [client.call(f"/{SERVICE_NAME}/ListRepos", b"") for _ in range(3)]
        (frame,) = await client.frames_of(refused)
        assert (frame.kind, frame.payload) == (Kind.RST_STREAM, REFUSED_STREAM.to_bytes(4, "big"))


def test_by_default_connections_live_on() -> None:
    assert AGE not in dict(server_options(Settings(), shares_port=False))


@pytest.mark.parametrize("shares_port", [False, True])
def test_ports_are_shared_only_where_asked_for(shares_port: bool) -> None:
    assert dict(server_options(Settings(), shares_port=shares_port))["grpc.so_reuseport"] == shares_port


# Channelz


async def test_channelz_tells_of_connections_where_it_is_on(serve: Serve) -> None:
    channel = (await serve(channelz=True)).channel
    await RepoServiceStub(channel).ListRepos(REQUEST)
    assert any(server.data.calls_succeeded for server in await servers(channel))


async def test_channelz_is_off_unless_asked_for(serve: Serve) -> None:
    stub = channelz_stub((await serve()).channel)
    for call in (
        stub.GetServers(channelz_pb2.GetServersRequest()),
        stub.GetTopChannels(channelz_pb2.GetTopChannelsRequest()),
    ):
        assert (await failure_of(call)).code is grpc.StatusCode.UNIMPLEMENTED


@pytest.fixture
def mutual_tls(tmp_path: Path) -> dict[str, Path]:
    server = issue("127.0.0.1")
    contents = {"tls_cert": server.chain, "tls_key": server.key, "tls_client_ca": pem_of(CA)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in contents}


ALLOWED, STRANGER = issue("good.corp.example"), issue("bad.corp.example")


@pytest.mark.parametrize(
    ("caller", "code"),
    [
        pytest.param(ALLOWED, grpc.StatusCode.OK, id="allowed"),
        pytest.param(STRANGER, grpc.StatusCode.PERMISSION_DENIED, id="not allowed"),
        pytest.param(None, grpc.StatusCode.UNAVAILABLE, id="without a certificate"),
    ],
)
async def test_channelz_is_as_closed_as_the_rest(
    serve: Serve, mutual_tls: dict[str, Path], caller: Pair | None, code: grpc.StatusCode
) -> None:
    served = await serve(channelz=True, tls_allowed_sans="good.corp.example", **mutual_tls)
    pair = (caller.key, caller.chain) if caller else (None, None)
    credentials = grpc.ssl_channel_credentials(pem_of(CA), *pair)
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(served.address, credentials, options) as channel:
        stub = channelz_stub(channel)
        calls = (
            stub.GetServers(channelz_pb2.GetServersRequest()),
            stub.GetTopChannels(channelz_pb2.GetTopChannelsRequest()),
            RepoServiceStub(channel).ListRepos(REQUEST),
        )
        assert [await call.code() for call in calls] == [code] * 3
