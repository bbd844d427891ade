"""Kept connections: clean when they are taken, of one credential, and of no harm to anybody when they are stale."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from certificates import CA, TlsUpstream, issue, pem_of
from conftest import Serve, Served
from gateway.listing import fetching
from gateway.reliability import timeouts
from gateway.telemetry.call import Call
from gateway.upstream import bodies, connections, iam_client
from gateway.upstream.connections import KeptConnections, lease_connection
from gateway.upstream.session import open_session
from patience import AGES, HOUR, Advance, until
from scripted_upstream import Act, Request, Script, ScriptedUpstream, answer, page
from stream_server import stream_server

GOOD_BYE = answer(408, "", {"Connection": "close"})


def rows(*names: str) -> bytes:
    return page(json.dumps([{"name": name} for name in names]))


@pytest.fixture
def serve(serve: Serve) -> Serve:
    """Start a gateway that sends requests again as often as it does by default."""
    return partial(serve, retries=2)


async def names(served: Served, token: str = "") -> list[str]:
    reply = await served.list(metadata=(("x-auth-token", token),) if token else ())
    return [repo.name for repo in reply.repos]


# Clean when it is taken


@pytest.mark.parametrize(
    "late",
    [GOOD_BYE, rows("of-another-tenant"), b"HTTP/1.1 200 OK\r\nX-Cut: ", b"\r\n"],
    ids=["a good-bye", "a page", "half a head", "an empty line"],
)
async def test_what_arrives_on_an_idle_connection_is_nobodys_answer(
    serve: Serve, upstream: ScriptedUpstream, late: bytes
) -> None:
    speak = asyncio.Event()
    upstream.play((rows("first"), speak, late), rows("second"), rows("third"))
    served = await serve()
    assert await names(served) == ["first"]
    speak.set()
    await served.until(upstream_discarded_connections_total=1)
    assert [await names(served), await names(served)] == [["second"], ["third"]]
    assert upstream.connections == 2


async def test_two_answers_to_one_request_are_one_answer(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(rows("first") + rows("of-another-tenant"), rows("second"))
    served = await serve()
    assert [await names(served), await names(served)] == [["first"], ["second"]]
    assert upstream.connections == 2


class KernelUpstream:
    """An upstream whose bytes are in the client's kernel as soon as they are sent, whatever the event loop does."""

    def __init__(self) -> None:
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    async def accept(self) -> socket.socket:
        connection, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        self._connections.append(connection)
        return connection

    @staticmethod
    async def request(connection: socket.socket) -> bytes:
        return await asyncio.get_running_loop().sock_recv(connection, 65536)

    def close(self) -> None:
        for opened in (self._listener, *self._connections):
            opened.close()


@pytest.fixture
def kernel_upstream() -> Any:
    running = KernelUpstream()
    yield running
    running.close()


@pytest.mark.parametrize("late", [GOOD_BYE, None], ids=["good-bye", "end"])
async def test_a_connection_with_unread_input_is_never_handed_out(
    kernel_upstream: KernelUpstream, late: bytes | None
) -> None:
    discarded: list[None] = []
    async with open_session(KeptConnections(10, lambda: discarded.append(None))) as session:

        async def get() -> str:
            lease_connection(0, fresh=False)
            async with session.get(kernel_upstream.url) as response:
                return await response.text()

        async def answer_one(text: str) -> socket.socket:
            connection = await kernel_upstream.accept()
            await kernel_upstream.request(connection)
            connection.send(answer(200, text))
            return connection

        first, text = await asyncio.gather(answer_one("first"), get())
        assert text == "first"
        # A task's first step comes before what the loop has yet to read.
        first.send(late) if late else first.shutdown(socket.SHUT_WR)
        asking, answering = asyncio.create_task(get()), asyncio.create_task(answer_one("second"))
        await asyncio.wait([asking])
        assert asking.result() == "second"
        assert len(discarded) == 1
        await answering


# Of one credential


async def test_connections_are_not_shared_between_credentials(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(rows("whatever"))
    served = await serve(auth="passthrough")
    for token, opened in (("a", 1), ("b", 2), ("a", 2), ("b", 2), ("c", 3), ("a", 3)):
        await names(served, token)
        assert upstream.connections == opened


async def test_kept_connections_keep_nothing_of_the_calls_that_opened_them(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else callers' tokens would stay in memory for as long as the connections do."""
    monkeypatch.setattr(connections, "KEEPALIVE_TIMEOUT", 100 * AGES)
    upstream.play(*[rows("any")] * 9)
    served = await serve(auth="passthrough")
    for token in "abcdefghi":
        await names(served, token)
    advance(10 * AGES)  # the event loop keeps cancelled timers, and what they know, until they were to fire

    def calls() -> int:
        gc.collect()
        return sum(isinstance(one, Call) for one in gc.get_objects())

    await until(lambda: calls() <= 2)  # gRPC itself holds the first of all calls and the latest
    assert upstream.connections == 9


async def test_no_more_connections_are_kept_than_requests_may_be_in_flight(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    upstream.play(rows("whatever"))
    served = await serve(auth="passthrough", max_in_flight=4, prefetch=1)
    for tenant in range(10):
        await names(served, f"tenant-{tenant}")
    await until(lambda: upstream.open == 4)
    await names(served, "tenant-9")  # the last ones are those that are kept
    assert upstream.connections == 10
    await names(served, "tenant-0")
    assert upstream.connections == 11


# Stale ones cost nobody anything


POOL = 60
LOST = [pytest.param((Act.CLOSE,), id="closed"), pytest.param((Act.RESET,), id="reset")]


async def list_at_once(served: Served) -> list[list[str]]:
    return await asyncio.gather(*(names(served) for _ in range(POOL)))


def dies(nth: int, death: Script) -> Callable[[Request], Script]:
    """Return how connections are answered that a load balancer forgets before their nth request."""
    together = asyncio.Event()
    arrived = 0

    def choose(request: Request) -> Script:
        nonlocal arrived
        arrived += 1
        if arrived == POOL:
            together.set()
        return death if request.nth >= nth else (together, rows("whatever"))

    return choose


@pytest.mark.parametrize("death", LOST)
@pytest.mark.parametrize("nth", [2, 3, 6])
async def test_a_load_balancer_that_forgets_its_connections_costs_no_call(
    serve: Serve, upstream: ScriptedUpstream, death: Script, nth: int
) -> None:
    upstream.choose = dies(nth, death)
    served = await serve(retries=0)
    for _ in range(nth):
        assert await list_at_once(served) == [["whatever"]] * POOL
    resent = served.metric("upstream_resends_total")
    assert resent > 0
    assert served.metric("upstream_attempts_total") == POOL * nth + resent == len(upstream.requests)
    assert served.metric("upstream_circuit_open") == 0
    assert served.metric("upstream_retries_total") == 0
    assert served.metric("upstream_retry_budget") == 10


async def test_a_resent_request_counts_as_an_attempt(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(rows("first"), (Act.CLOSE,), answer(403))
    served = await serve()
    await names(served)
    failure = await served.fail()
    assert (failure.reason, failure.info.metadata["attempts"]) == ("UPSTREAM_PERMISSION_DENIED", "2")


async def test_a_request_that_was_resent_has_all_its_retries_left(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(rows("first"), (Act.CLOSE,), answer(503), rows("second"))
    served = await serve(retries=1)
    assert [await names(served), await names(served)] == [["first"], ["second"]]
    assert (served.metric("upstream_resends_total"), served.metric("upstream_retries_total")) == (1, 1)


@pytest.mark.parametrize("death", LOST)
async def test_a_request_is_resent_once(serve: Serve, upstream: ScriptedUpstream, death: Script) -> None:
    upstream.play(rows("first"), death)
    served = await serve(retries=0)
    await names(served)
    assert (await served.fail()).reason == "UPSTREAM_CONNECTION_LOST"
    assert len(upstream.requests) == 3


@pytest.mark.parametrize("death", LOST)
async def test_a_loss_on_a_fresh_connection_stays_what_it_is(
    serve: Serve, upstream: ScriptedUpstream, death: Script
) -> None:
    upstream.play(death)
    served = await serve(retries=0)
    assert (await served.fail()).reason == "UPSTREAM_CONNECTION_LOST"
    assert (len(upstream.requests), served.metric("upstream_resends_total")) == (1, 0)


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 200 OK\r\n", rows("x")[:-1]], ids=["byte", "line", "body"])
async def test_what_is_lost_behind_the_first_byte_is_not_resent(
    serve: Serve, upstream: ScriptedUpstream, begun: bytes
) -> None:
    upstream.play(rows("first"), (begun, Act.CLOSE))
    served = await serve(retries=0)
    await names(served)
    assert (await served.fail()).code is grpc.StatusCode.UNAVAILABLE
    assert len(upstream.requests) == 2


async def test_silent_connections_cost_their_time_and_no_call(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance
) -> None:
    upstream.choose = dies(2, (Act.STALL,))
    served = await serve(attempt_timeout="1h")
    await list_at_once(served)
    calls = asyncio.ensure_future(list_at_once(served))
    await upstream.all_arrived(2 * POOL)
    advance(HOUR)
    assert await calls == [["whatever"]] * POOL
    assert served.metric("upstream_circuit_open") == 0
    assert served.metric("upstream_retry_budget") == 10


async def test_a_silent_upstream_is_not_asked_again_for_nothing(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance
) -> None:
    upstream.play(rows("first"), (Act.STALL,))
    served = await serve(retries=0, attempt_timeout="1h")
    await names(served)
    failing = asyncio.ensure_future(served.fail())
    await upstream.all_arrived(2)
    advance(HOUR)
    assert (await failing).reason == "UPSTREAM_TIMEOUT"
    assert len(upstream.requests) == 2


async def test_one_retry_is_enough_for_a_silent_connection(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance
) -> None:
    upstream.play(rows("first"), (Act.STALL,), rows("second"))
    served = await serve(retries=1, attempt_timeout="1h")
    await names(served)
    asking = asyncio.ensure_future(names(served))
    await upstream.all_arrived(2)
    advance(HOUR)
    assert await asking == ["second"]
    assert served.metric("upstream_retries_total") == 0


async def test_a_silent_connection_is_the_answer_where_there_is_no_time_for_another_request(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MIN_TIME", HOUR)
    upstream.play(rows("first"), (Act.STALL,), rows("second"))
    served = await serve(attempt_timeout="2h", timeout="150m")
    await names(served)
    failing = asyncio.ensure_future(served.fail())
    await upstream.all_arrived(2)
    advance(2 * HOUR)
    await served.until(upstream_attempts_total=2)
    advance(HOUR)
    assert (await failing).reason == "UPSTREAM_TIMEOUT"
    assert len(upstream.requests) == 2


# Nobody has it


async def test_a_connection_that_opens_in_the_moment_in_which_its_caller_leaves_is_closed(
    upstream: ScriptedUpstream,
) -> None:
    async with open_session(KeptConnections(10, lambda: None)) as session:

        async def get() -> None:
            async with session.get(upstream.url):
                pass

        asking, opening = asyncio.create_task(get()), list[asyncio.Task[Any]]()
        while not opening:
            await asyncio.sleep(0)
            opening = [task for task in asyncio.all_tasks() if "_create_connection" in repr(task.get_coro())]
        while not opening[0].done():  # noqa: ASYNC110 - the very turn of the loop counts
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: (upstream.connections, upstream.open) == (1, 0))
    assert upstream.requests == []


# A gateway that stood still


async def ask_while_standing_still(
    kernel_upstream: KernelUpstream, served: Served, advance: Advance, reply: bytes
) -> list[Any]:
    """Make calls, and put the clock forward by hours with their answers in the kernel, before the event loop turns."""
    asking = [asyncio.ensure_future(served.list()) for _ in range(30)]
    connections = [await kernel_upstream.accept() for _ in asking]
    for connection in connections:
        await kernel_upstream.request(connection)
    for connection in connections:
        connection.send(reply)
    advance(2 * HOUR)
    return await asyncio.gather(*asking, return_exceptions=True)


async def test_what_came_while_the_gateway_stood_still_is_an_answer(
    serve: Serve, kernel_upstream: KernelUpstream, advance: Advance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "LATE", 0.5)
    monkeypatch.setattr(timeouts, "CATCH_UP", HOUR)
    served = await serve(upstream_url=kernel_upstream.url, attempt_timeout="1h", retries=0)
    replies = await ask_while_standing_still(kernel_upstream, served, advance, rows("x"))
    assert [[repo.name for repo in reply.repos] for reply in replies] == [["x"]] * 30


async def test_who_waited_for_a_turn_while_the_gateway_stood_still_gets_it(
    serve: Serve, kernel_upstream: KernelUpstream, advance: Advance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "LATE", 0.5)
    monkeypatch.setattr(timeouts, "CATCH_UP", HOUR)
    served = await serve(upstream_url=kernel_upstream.url, max_in_flight=1, prefetch=1, queue_timeout="1h")
    calls = [asyncio.ensure_future(names(served)) for _ in range(2)]
    connection = await kernel_upstream.accept()
    await kernel_upstream.request(connection)
    await served.until(upstream_queue=1)
    connection.send(rows("x"))
    advance(2 * HOUR)
    await kernel_upstream.request(connection)
    connection.send(rows("x"))
    assert await asyncio.gather(*calls) == [["x"], ["x"]]


@pytest.mark.parametrize("limit", ["attempt_timeout", "timeout"])
async def test_a_time_that_ended_while_the_gateway_stood_still_says_nothing_of_the_upstream(
    serve: Serve, kernel_upstream: KernelUpstream, advance: Advance, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(timeouts, "LATE", 0.5)
    monkeypatch.setattr(timeouts, "CATCH_UP", 0.0)
    served = await serve(upstream_url=kernel_upstream.url, retries=0, **{limit: "1h"})
    failures = await ask_while_standing_still(kernel_upstream, served, advance, b"H")
    assert {failure.code() for failure in failures} == {grpc.StatusCode.UNAVAILABLE}
    assert served.metric("upstream_circuit_open") == 0


@pytest.mark.parametrize(
    ("catch_up", "opens"), [pytest.param(HOUR, True, id="opened"), pytest.param(0.0, False, id="did not")]
)
async def test_connections_that_were_to_open_while_the_gateway_stood_still_say_nothing_of_the_upstream(
    serve: Serve, tmp_path: Path, advance: Advance, monkeypatch: pytest.MonkeyPatch, catch_up: float, opens: bool
) -> None:
    # Below the minute that asyncio itself gives a handshake; whenever that timer fires, it is late.
    monkeypatch.setattr("gateway.upstream.session.CONNECT_TIMEOUT", 1.0)
    monkeypatch.setattr(timeouts, "LATE", 0.0)
    monkeypatch.setattr(timeouts, "CATCH_UP", catch_up)
    (tmp_path / "ca.pem").write_bytes(pem_of(CA))
    upstream, goes_on = TlsUpstream(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)), asyncio.Event()
    issue("localhost").configure(upstream.context)
    arrived = 0

    async def shake_hands_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        arrived += 1
        await goes_on.wait()
        await upstream.serve(reader, writer)

    async with stream_server(shake_hands_late) as port:
        served = await serve(upstream_url=f"https://localhost:{port}", upstream_ca=tmp_path / "ca.pem", retries=0)
        calls = [asyncio.ensure_future(served.list()) for _ in range(30)]
        await until(lambda: arrived == len(calls))
        advance(20.0)
        if opens:
            goes_on.set()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(one, grpc.aio.AioRpcError) for one in ended] == [not opens] * len(calls)
        assert served.metric("upstream_circuit_open") == 0


async def test_a_token_that_came_while_the_gateway_stood_still_is_one(
    serve: Serve,
    upstream: ScriptedUpstream,
    kernel_upstream: KernelUpstream,
    advance: Advance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timeouts, "LATE", 0.5)
    monkeypatch.setattr(timeouts, "CATCH_UP", HOUR)
    monkeypatch.setattr(iam_client, "TIMEOUT", HOUR)
    upstream.play(rows("x"))
    user = {"iam_username": "robot", "iam_password": "p", "iam_domain": "acme", "iam_project": "cn-north-4"}
    served = await serve(auth="iam", iam_url=kernel_upstream.url, **user)
    connection, asked = await kernel_upstream.accept(), b""
    while not asked.endswith(b"}"):
        asked += await kernel_upstream.request(connection)
    told = {"token": {"issued_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-02T00:00:00Z"}}
    connection.send(answer(201, json.dumps(told), {"X-Subject-Token": "t"}))
    advance(2 * HOUR)
    assert await names(served) == ["x"]


async def test_what_an_error_said_while_the_gateway_stood_still_is_read(
    kernel_upstream: KernelUpstream, advance: Advance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "LATE", 0.5)
    monkeypatch.setattr(timeouts, "CATCH_UP", HOUR)
    monkeypatch.setattr(bodies, "ERROR_BODY_TIMEOUT", HOUR)
    async with open_session() as session:
        asking = asyncio.create_task(session.get(kernel_upstream.url))
        connection = await kernel_upstream.accept()
        await kernel_upstream.request(connection)
        connection.send(answer(403, "said so")[: -len("said so")])
        response = await asking
        reading = asyncio.create_task(bodies.read_error_body(response, asyncio.get_running_loop().time() + AGES))
        await asyncio.sleep(0)  # it waits
        connection.send(b"said so")
        advance(2 * HOUR)
        assert await reading == b"said so"
