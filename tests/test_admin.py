"""HTTP for operators: /metrics, /livez, /readyz, from threads that a stuck event loop does not hold up."""

from __future__ import annotations

import asyncio
import errno
import http.client
import resource
import socket
import socketserver
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from grpc_health.v1 import health_pb2
from prometheus_client.parser import text_string_to_metric_families

from conftest import OPERATED, Serve
from gateway.metrics import Metrics
from gateway.settings.model import Settings
from gateway.start_errors import ListenError
from gateway.telemetry import admin_http
from gateway.telemetry import loop_monitor as heart
from gateway.telemetry.admin import Admin, Texts
from gateway.telemetry.loop_monitor import LoopMonitor
from patience import AGES, Clock, let_pass, until


def ask(address: str | None, path: str, accept: str = "*/*") -> tuple[int, str]:
    """Ask from this very thread: the event loop does not turn meanwhile."""
    try:
        request = urllib.request.Request(f"http://{address}{path}", headers={"Accept": accept})
        with urllib.request.urlopen(request) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def serve(serve: Serve) -> Serve:
    """Start a gateway whose operators are answered."""
    return partial(serve, **OPERATED)


def operators(address: str = "127.0.0.1:0", problems: Texts = tuple) -> Admin:
    settings = Settings(upstream_url="http://upstream.invalid", admin_listen=address)
    return Admin(settings, Metrics().registry, problems=problems, not_ready_reasons=tuple, notes=tuple)


async def test_a_gateway_that_serves_is_live_and_ready(serve: Serve) -> None:
    served = await serve()
    assert ask(served.gateway.admin_address, "/livez") == (200, "ok\n")
    assert ask(served.gateway.admin_address, "/readyz") == (200, "ok\nupstream circuit: closed\n")


async def test_a_gateway_that_drains_is_live_and_not_ready(serve: Serve) -> None:
    served = await serve(drain_delay="1h")
    watch = served.health.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    leaving = asyncio.create_task(served.drain())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert ask(served.gateway.admin_address, "/readyz") == (503, "draining\nupstream circuit: closed\n")
    assert ask(served.gateway.admin_address, "/livez") == (200, "ok\n")
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_metrics_are_those_of_prometheus(serve: Serve) -> None:
    served = await serve()
    status, text = ask(served.gateway.admin_address, "/metrics")
    assert status == 200
    names = {family.name for family in text_string_to_metric_families(text)}
    assert "swr_gateway_file_reloads" in names


async def test_a_slow_call_leads_to_its_trace(serve: Serve) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    served = await serve()
    for parent in (f"00-{trace}-b7ad6b7169203331-01", f"00-{trace[::-1]}-b7ad6b7169203331-00"):
        await served.list(metadata=(("traceparent", parent),))
    _, text = ask(served.gateway.admin_address, "/metrics", "application/openmetrics-text; version=1.0.0")
    assert f'# {{trace_id="{trace}"}}' in text
    assert trace[::-1] not in text


async def test_other_paths_are_not_found(serve: Serve) -> None:
    served = await serve()
    assert ask(served.gateway.admin_address, "/favicon.ico") == (404, "/, /metrics, /livez, /readyz\n")


async def test_without_an_address_nothing_listens(serve: Serve) -> None:
    assert (await serve(admin_listen=None)).gateway.admin_address is None


async def test_a_loop_that_does_not_turn_is_not_live_and_one_that_turns_again_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    monkeypatch.setattr(heart, "time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(heart, "BEAT", 0.0)
    beating = LoopMonitor(Metrics())
    task = asyncio.create_task(beating.run())
    async with operators(problems=beating.problems) as running:
        clock.now += heart.DEAD_AFTER
        assert ask(running.address, "/livez")[0] == 200  # no turn of the loop in here
        clock.now += 1
        for _ in range(2):
            assert ask(running.address, "/livez") == (503, "the event loop has not turned for 11 s\n")
        while (await asyncio.to_thread(ask, running.address, "/livez"))[0] != 200:
            pass
    task.cancel()
    assert "in test_a_loop_that_does_not_turn" in caplog.records[0].getMessage()
    assert caplog.records[0].getMessage().isprintable()  # in the log of a terminal too it is one line
    assert len([record for record in caplog.records if "it stands at" in record.getMessage()]) == 1


async def test_a_gateway_whose_loop_does_not_turn_is_not_ready(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = await serve()
    monkeypatch.setattr(heart, "DEAD_AFTER", -1.0)
    status, text = ask(served.gateway.admin_address, "/readyz")
    assert (status, text.startswith("the event loop has not turned for ")) == (503, True)
    assert "\nswr_gateway_ready 0.0\n" in ask(served.gateway.admin_address, "/metrics")[1]


async def test_lateness_of_the_loop_is_observed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(heart, "time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(heart, "BEAT", 0.0)
    metrics = Metrics()
    task = asyncio.create_task(LoopMonitor(metrics).run())
    await asyncio.sleep(0)
    before = metrics.registry.get_sample_value("swr_gateway_event_loop_lag_seconds_sum")
    clock.now += 7.0
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    after = metrics.registry.get_sample_value("swr_gateway_event_loop_lag_seconds_sum")
    assert before is not None
    assert after is not None
    assert after - before == 7.0


async def test_ipv6_is_listened_on() -> None:
    async with operators("[::1]:0") as running:
        assert ask(running.address, "/livez") == (200, "ok\n")


async def test_an_address_in_use_is_told_with_its_setting(serve: Serve) -> None:
    taken = (await serve()).gateway.admin_address
    with pytest.raises(ListenError, match=rf"--admin-listen: cannot listen on {taken}: .* in use"):
        await serve(admin_listen=taken)


# Clients of all kinds


def connect(running: Admin) -> socket.socket:
    host, _, port = running.address.rpartition(":")
    return socket.create_connection((host, int(port)))


async def test_who_sends_no_request_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_http, "REQUEST_TIMEOUT", 0.05)
    async with operators() as running:
        with connect(running) as silent:
            assert silent.recv(1) == b""


async def test_a_request_has_one_limit_however_its_bytes_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_http, "REQUEST_TIMEOUT", 0.3)
    async with operators() as running:
        with connect(running) as slow:
            slow.setblocking(False)

            def hung_up() -> bool:
                with suppress(BlockingIOError):
                    slow.send(b"G")
                    return slow.recv(100) == b""
                return False

            with suppress(ConnectionError):
                await until(hung_up)


async def test_who_does_not_read_the_answer_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    large = tuple("problem" * 1000 for _ in range(1000))
    monkeypatch.setattr(admin_http, "REQUEST_TIMEOUT", 0.3)
    async with operators(problems=lambda: large) as running:
        with connect(running) as lazy:
            before = threading.active_count()
            lazy.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            lazy.recv(1, socket.MSG_PEEK)  # its thread is at work
            await until(lambda: threading.active_count() <= before)


async def test_nobody_who_is_silent_keeps_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_http, "REQUEST_TIMEOUT", AGES)
    async with operators() as running:
        with connect(running):
            assert ask(running.address, "/livez")[0] == 200


async def test_threads_are_bounded_and_the_oldest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_http, "REQUEST_TIMEOUT", AGES)
    monkeypatch.setattr(admin_http, "ROOM_TIMEOUT", AGES)
    monkeypatch.setattr(admin_http, "MAX_CONNECTIONS", 4)
    before = threading.active_count()
    async with operators() as running:
        with ExitStack() as stack:
            silent = [stack.enter_context(connect(running)) for _ in range(20)]
            assert ask(running.address, "/livez") == (200, "ok\n")
            assert [one.recv(1) for one in silent[:16]] == [b""] * 16
            assert threading.active_count() <= before + 5  # with the one that accepts


async def test_where_no_thread_can_be_had_the_client_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_http, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(admin_http, "ROOM_TIMEOUT", 0.0)
    busy, release = threading.Event(), threading.Event()

    def problems() -> tuple[str, ...]:
        busy.set()
        release.wait()
        return ()

    async with operators(problems=problems) as running:
        with connect(running) as first:
            first.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            await asyncio.to_thread(busy.wait)
            with connect(running) as second:
                assert second.recv(1) == b""
        release.set()


async def test_out_of_descriptors_it_waits_before_it_accepts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_http, "PAUSE", AGES)
    refused: list[int] = []
    accept = socketserver.TCPServer.get_request

    def counted(server: socketserver.TCPServer) -> Any:
        try:
            return accept(server)
        except OSError as error:
            refused.append(error.errno or 0)
            raise

    monkeypatch.setattr(socketserver.TCPServer, "get_request", counted)
    async with operators() as running:
        with connect(running):  # a thread and its selector are there
            assert ask(running.address, "/livez")[0] == 200
        client = socket.socket()
        host, _, port = running.address.rpartition(":")
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with client, without_descriptors():
            client.connect((host, int(port)))
            await until(lambda: bool(refused))
            await let_pass(0.5)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits
    assert refused == [errno.EMFILE]


@contextmanager
def without_descriptors() -> Iterator[None]:
    """Let this process open nothing more, whatever it closes meanwhile: only the three standard streams are below."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "ODD"])
@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/", "/none"])
async def test_other_methods_are_not_allowed(method: str, path: str) -> None:
    async with operators() as running:
        status, headers, body = request(running, method, path)
        assert (status, headers["Allow"], body) == (405, "GET, HEAD", b"GET, HEAD\n")


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/", "/none"])
async def test_head_is_get_without_the_body(path: str) -> None:
    async with operators() as running:
        got = request(running, "GET", path)
        status, headers, body = request(running, "HEAD", path)
        assert (status, headers["Content-Type"], body) == (got[0], got[1]["Content-Type"], b"")
        with connect(running) as raw:
            raw.sendall(f"HEAD {path} HTTP/1.1\r\n\r\n".encode())
            answer = b""
            while more := raw.recv(65536):
                answer += more
        assert answer.partition(b"\r\n\r\n")[2] == b""


def request(running: Admin, method: str, path: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(running.address)
    with closing(connection):
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


async def test_a_request_that_is_none_breaks_nothing() -> None:
    async with operators() as running:
        with connect(running) as odd:
            odd.sendall(b"\x16\x03\x01\x00\r\n\r\n")
            assert odd.recv(1000)
        assert ask(running.address, "/livez")[0] == 200


async def test_who_is_silent_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_http, "REQUEST_TIMEOUT", AGES)
    async with operators() as running:
        silent = connect(running)
        assert ask(running.address, "/livez")[0] == 200
    assert silent.recv(1) == b""
    silent.close()
