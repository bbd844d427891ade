"""Kept connections: clean when they are taken, of one credential, and of no harm to anybody when they are stale."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import grpc
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from failures import failure_of
from gateway.listing import fetching
from gateway.reliability import timeouts
from gateway.server.gateway import Gateway
from gateway.settings.model import Settings
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from gateway.telemetry.call import Call
from gateway.upstream import connections
from gateway.upstream.connections import KeptConnections, lease_connection
from gateway.upstream.session import open_session
from patience import AGES, HOUR, PATIENT, Advance, until
from scripted_upstream import Act, Request, Script, ScriptedUpstream, answer, page

GOOD_BYE = answer(408, "", {"Connection": "close"})


def rows(*names: str) -> bytes:
    return page(json.dumps([{"name": name} for name in names]))


class HasUrl(Protocol):
    """An upstream of any kind."""

    url: str


Serving = tuple[Any, Callable[[str], float]]


@asynccontextmanager
async def serving(
    upstream: ScriptedUpstream | KernelUpstream, **given: Any
) -> AsyncIterator[tuple[Any, Callable[[str], float]]]:
    """A gateway as it is by default, but for calls that share requests; with a way to read a metric of it."""
    defaults: dict[str, Any] = {"auth": "none", "listen": "127.0.0.1:0", "admin_listen": None, "coalesce": False}
    async with Gateway(Settings(upstream_url=upstream.url, **defaults | PATIENT | given)) as gateway:

        def metric(name: str) -> float:
            families = text_string_to_metric_families(generate_latest(gateway._metrics.registry).decode())
            samples = (sample for family in families for sample in family.samples)
            return sum(sample.value for sample in samples if sample.name == f"swr_gateway_{name}")

        async with grpc.aio.insecure_channel(gateway.addresses[0]) as channel:
            yield RepoServiceStub(channel), metric


async def names(stub: Any, token: str = "", **options: Any) -> list[str]:
    metadata = (("x-auth-token", token),) if token else ()
    reply = await stub.ListRepos(repos_pb2.ListReposRequest(), metadata=metadata, **options)
    return [repo.name for repo in reply.repos]


# Clean when it is taken


@pytest.mark.parametrize(
    "late",
    [GOOD_BYE, rows("of-another-tenant"), b"HTTP/1.1 200 OK\r\nX-Cut: ", b"\r\n"],
    ids=["a good-bye", "a page", "half a head", "an empty line"],
)
async def test_what_arrives_on_an_idle_connection_is_nobodys_answer(upstream: ScriptedUpstream, late: bytes) -> None:
    speak = asyncio.Event()
    upstream.play((rows("first"), speak, late), rows("second"), rows("third"))
    async with serving(upstream) as (stub, metric):
        assert await names(stub) == ["first"]
        speak.set()
        await until(lambda: metric("upstream_discarded_connections_total") == 1)
        assert [await names(stub), await names(stub)] == [["second"], ["third"]]
        assert upstream.connections == 2


async def test_two_answers_to_one_request_are_one_answer(upstream: ScriptedUpstream) -> None:
    upstream.play(rows("first") + rows("of-another-tenant"), rows("second"))
    async with serving(upstream) as (stub, _):
        assert [await names(stub), await names(stub)] == [["first"], ["second"]]
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


async def test_connections_are_not_shared_between_credentials(upstream: ScriptedUpstream) -> None:
    upstream.play(rows("whatever"))
    async with serving(upstream, auth="passthrough") as (stub, _):
        for token, connections in (("a", 1), ("b", 2), ("a", 2), ("b", 2), ("c", 3), ("a", 3)):
            await names(stub, token)
            assert upstream.connections == connections


async def test_kept_connections_keep_nothing_of_the_calls_that_opened_them(
    upstream: ScriptedUpstream, advance: Advance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else callers' tokens would stay in memory for as long as the connections do."""
    monkeypatch.setattr(connections, "KEEPALIVE_TIMEOUT", 100 * AGES)
    upstream.play(*[rows("any")] * 9)
    async with serving(upstream, auth="passthrough") as (stub, _):
        for token in "abcdefghi":
            await names(stub, token)
        advance(10 * AGES)  # the event loop keeps cancelled timers, and what they know, until they were to fire

        def calls() -> int:
            gc.collect()
            return sum(isinstance(one, Call) for one in gc.get_objects())

        await until(lambda: calls() <= 2)  # gRPC itself holds the first of all calls and the latest
        assert upstream.connections == 9


async def test_no_more_connections_are_kept_than_requests_may_be_in_flight(upstream: ScriptedUpstream) -> None:
    upstream.play(rows("whatever"))
    async with serving(upstream, auth="passthrough", max_in_flight=4, prefetch=1) as (stub, _):
        for tenant in range(10):
            await names(stub, f"tenant-{tenant}")
        await until(lambda: upstream.open == 4)
        await names(stub, "tenant-9")  # the last ones are those that are kept
        assert upstream.connections == 10
        await names(stub, "tenant-0")
        assert upstream.connections == 11


# Stale ones cost nobody anything


POOL = 60
LOST = [pytest.param((Act.CLOSE,), id="closed"), pytest.param((Act.RESET,), id="reset")]


async def list_at_once(stub: Any) -> list[list[str]]:
    return await asyncio.gather(*(names(stub) for _ in range(POOL)))


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
    upstream: ScriptedUpstream, death: Script, nth: int
) -> None:
    upstream.choose = dies(nth, death)
    async with serving(upstream, retries=0) as (stub, metric):
        for _ in range(nth):
            assert await list_at_once(stub) == [["whatever"]] * POOL
        resent = metric("upstream_resends_total")
        assert resent > 0
        assert metric("upstream_attempts_total") == POOL * nth + resent == len(upstream.requests)
        assert metric("upstream_circuit_open") == 0
        assert metric("upstream_retries_total") == 0
        assert metric("upstream_retry_budget") == 10


async def test_a_resent_request_counts_as_an_attempt(upstream: ScriptedUpstream) -> None:
    upstream.play(rows("first"), (Act.CLOSE,), answer(403))
    async with serving(upstream) as (stub, _):
        await names(stub)
        failure = await failure_of(stub.ListRepos(repos_pb2.ListReposRequest()))
        assert (failure.reason, failure.info.metadata["attempts"]) == ("UPSTREAM_PERMISSION_DENIED", "2")


async def test_a_request_that_was_resent_has_all_its_retries_left(upstream: ScriptedUpstream) -> None:
    upstream.play(rows("first"), (Act.CLOSE,), answer(503), rows("second"))
    async with serving(upstream, retries=1) as (stub, metric):
        assert [await names(stub), await names(stub)] == [["first"], ["second"]]
        assert (metric("upstream_resends_total"), metric("upstream_retries_total")) == (1, 1)


@pytest.mark.parametrize("death", LOST)
async def test_a_request_is_resent_once(upstream: ScriptedUpstream, death: Script) -> None:
    upstream.play(rows("first"), death)
    async with serving(upstream, retries=0) as (stub, _):
        await names(stub)
        assert (await failure_of(stub.ListRepos(repos_pb2.ListReposRequest()))).reason == "UPSTREAM_CONNECTION_LOST"
        assert len(upstream.requests) == 3


@pytest.mark.parametrize("death", LOST)
async def test_a_loss_on_a_fresh_connection_stays_what_it_is(upstream: ScriptedUpstream, death: Script) -> None:
    upstream.play(death)
    async with serving(upstream, retries=0) as (stub, metric):
        assert (await failure_of(stub.ListRepos(repos_pb2.ListReposRequest()))).reason == "UPSTREAM_CONNECTION_LOST"
        assert (len(upstream.requests), metric("upstream_resends_total")) == (1, 0)


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 200 OK\r\n", rows("x")[:-1]], ids=["byte", "line", "body"])
async def test_what_is_lost_behind_the_first_byte_is_not_resent(upstream: ScriptedUpstream, begun: bytes) -> None:
    upstream.play(rows("first"), (begun, Act.CLOSE))
    async with serving(upstream, retries=0) as (stub, _):
        await names(stub)
        assert (await failure_of(stub.ListRepos(repos_pb2.ListReposRequest()))).code is grpc.StatusCode.UNAVAILABLE
        assert len(upstream.requests) == 2


async def test_silent_connections_cost_their_time_and_no_call(upstream: ScriptedUpstream, advance: Advance) -> None:
    upstream.choose = dies(2, (Act.STALL,))
    async with serving(upstream, attempt_timeout="1h") as (stub, metric):
        await list_at_once(stub)
        calls = asyncio.ensure_future(list_at_once(stub))
        await upstream.all_arrived(2 * POOL)
        advance(HOUR)
        assert await calls == [["whatever"]] * POOL
        assert metric("upstream_circuit_open") == 0
        assert metric("upstream_retry_budget") == 10


async def test_a_silent_upstream_is_not_asked_again_for_nothing(upstream: ScriptedUpstream, advance: Advance) -> None:
    upstream.play(rows("first"), (Act.STALL,))
    async with serving(upstream, retries=0, attempt_timeout="1h") as (stub, _):
        await names(stub)
        failing = asyncio.ensure_future(failure_of(stub.ListRepos(repos_pb2.ListReposRequest())))
        await upstream.all_arrived(2)
        advance(HOUR)
        assert (await failing).reason == "UPSTREAM_TIMEOUT"
        assert len(upstream.requests) == 2


async def test_one_retry_is_enough_for_a_silent_connection(upstream: ScriptedUpstream, advance: Advance) -> None:
    upstream.play(rows("first"), (Act.STALL,), rows("second"))
    async with serving(upstream, retries=1, attempt_timeout="1h") as (stub, metric):
        await names(stub)
        asking = asyncio.ensure_future(names(stub))
        await upstream.all_arrived(2)
        advance(HOUR)
        assert await asking == ["second"]
        assert metric("upstream_retries_total") == 0


async def test_a_silent_connection_is_the_answer_where_there_is_no_time_for_another_request(
    upstream: ScriptedUpstream, advance: Advance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MIN_TIME", HOUR)
    upstream.play(rows("first"), (Act.STALL,), rows("second"))
    async with serving(upstream, attempt_timeout="2h", timeout="150m") as (stub, metric):
        await names(stub)
        failing = asyncio.ensure_future(failure_of(stub.ListRepos(repos_pb2.ListReposRequest())))
        await upstream.all_arrived(2)
        advance(2 * HOUR)
        await until(lambda: metric("upstream_attempts_total") == 2)
        advance(HOUR)
        assert (await failing).reason == "UPSTREAM_TIMEOUT"
        assert len(upstream.requests) == 2


# A gateway that stood still


async def ask_while_standing_still(
    kernel_upstream: KernelUpstream, stub: Any, advance: Advance, reply: bytes
) -> list[Any]:
    """Make calls, and put the clock forward by hours with their answers in the kernel, before the event loop turns."""
    asking = [asyncio.ensure_future(stub.ListRepos(repos_pb2.ListReposRequest())) for _ in range(30)]
    connections = [await kernel_upstream.accept() for _ in asking]
    for connection in connections:
        await kernel_upstream.request(connection)
    for connection in connections:
        connection.send(reply)
    advance(2 * HOUR)
    return await asyncio.gather(*asking, return_exceptions=True)


async def test_what_came_while_the_gateway_stood_still_is_an_answer(
    kernel_upstream: KernelUpstream, advance: Advance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "LATE", 0.5)
    monkeypatch.setattr(timeouts, "CATCH_UP", HOUR)
    async with serving(kernel_upstream, attempt_timeout="1h", retries=0) as (stub, _):
        replies = await ask_while_standing_still(kernel_upstream, stub, advance, rows("x"))
        assert [[repo.name for repo in reply.repos] for reply in replies] == [["x"]] * 30


async def test_who_waited_for_a_turn_while_the_gateway_stood_still_gets_it(
    kernel_upstream: KernelUpstream, advance: Advance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "LATE", 0.5)
    monkeypatch.setattr(timeouts, "CATCH_UP", HOUR)
    async with serving(kernel_upstream, max_in_flight=1, prefetch=1, queue_timeout="1h") as (stub, metric):
        calls = [asyncio.ensure_future(names(stub)) for _ in range(2)]
        connection = await kernel_upstream.accept()
        await kernel_upstream.request(connection)
        await until(lambda: metric("upstream_queue") == 1)
        connection.send(rows("x"))
        advance(2 * HOUR)
        await kernel_upstream.request(connection)
        connection.send(rows("x"))
        assert await asyncio.gather(*calls) == [["x"], ["x"]]


async def test_a_time_that_ended_while_the_gateway_stood_still_says_nothing_of_the_upstream(
    kernel_upstream: KernelUpstream, advance: Advance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "LATE", 0.5)
    monkeypatch.setattr(timeouts, "CATCH_UP", 0.0)
    async with serving(kernel_upstream, attempt_timeout="1h", retries=0) as (stub, metric):
        failures = await ask_while_standing_still(kernel_upstream, stub, advance, b"H")
        assert {failure.code() for failure in failures} == {grpc.StatusCode.UNAVAILABLE}
        assert metric("upstream_circuit_open") == 0
