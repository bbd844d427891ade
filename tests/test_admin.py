"""HTTP for operators: /metrics, /livez, /readyz, from threads that a stuck event loop does not hold up."""

from __future__ import annotations

import asyncio
import http.client
import socket
import urllib.error
import urllib.request
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import Metrics
from gateway.server import admin, heart
from gateway.server.admin import Admin, Texts
from gateway.server.errors import ListenError
from gateway.server.gateway import Gateway
from gateway.server.heart import Heart
from gateway.settings.model import Settings
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from patience import PATIENT, Clock
from scripted_upstream import ScriptedUpstream


def ask(address: str | None, path: str, accept: str = "*/*") -> tuple[int, str]:
    """Ask from this very thread: the event loop does not turn meanwhile."""
    try:
        request = urllib.request.Request(f"http://{address}{path}", headers={"Accept": accept})
        with urllib.request.urlopen(request) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def settings(upstream: ScriptedUpstream, **more: object) -> Settings:
    defaults = {"auth": "none", "listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0"} | PATIENT
    return Settings.model_validate(defaults | {"upstream_url": upstream.url} | more)


def operators(address: str = "127.0.0.1:0", problems: Texts = tuple) -> Admin:
    return Admin(address, Metrics().registry, problems=problems, hindrances=tuple, remarks=tuple)


async def test_a_gateway_that_serves_is_live_and_ready(upstream: ScriptedUpstream) -> None:
    async with Gateway(settings(upstream)) as gateway:
        assert ask(gateway.admin_address, "/livez") == (200, "ok\n")
        assert ask(gateway.admin_address, "/readyz") == (200, "ok\nupstream circuit: closed\n")


async def test_a_gateway_that_drains_is_live_and_not_ready(upstream: ScriptedUpstream) -> None:
    running: asyncio.Future[Gateway] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def serve() -> None:
        async with Gateway(settings(upstream, drain_delay="1h")) as gateway:
            running.set_result(gateway)
            await leave.wait()

    serving = asyncio.create_task(serve())
    gateway = await running
    async with grpc.aio.insecure_channel(gateway.addresses[0]) as channel:
        stub: Any = HealthStub(channel)  # the library's stubs know no methods
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        leave.set()
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert ask(gateway.admin_address, "/readyz") == (503, "draining\nupstream circuit: closed\n")
        assert ask(gateway.admin_address, "/livez") == (200, "ok\n")
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_metrics_are_those_of_prometheus(upstream: ScriptedUpstream) -> None:
    async with Gateway(settings(upstream)) as gateway:
        status, text = ask(gateway.admin_address, "/metrics")
    assert status == 200
    names = {family.name for family in text_string_to_metric_families(text)}
    assert "swr_gateway_file_reloads" in names


async def test_a_slow_call_leads_to_its_trace(upstream: ScriptedUpstream) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with Gateway(settings(upstream)) as gateway:
        async with grpc.aio.insecure_channel(gateway.addresses[0]) as channel:
            for parent in (f"00-{trace}-b7ad6b7169203331-01", f"00-{trace[::-1]}-b7ad6b7169203331-00"):
                await RepoServiceStub(channel).ListRepos(
                    repos_pb2.ListReposRequest(), metadata=(("traceparent", parent),)
                )
        _, text = ask(gateway.admin_address, "/metrics", "application/openmetrics-text; version=1.0.0")
    assert f'# {{trace_id="{trace}"}}' in text
    assert trace[::-1] not in text


async def test_other_paths_are_not_found(upstream: ScriptedUpstream) -> None:
    async with Gateway(settings(upstream)) as gateway:
        assert ask(gateway.admin_address, "/") == (404, "/metrics, /livez, /readyz\n")


async def test_without_an_address_nothing_listens(upstream: ScriptedUpstream) -> None:
    async with Gateway(settings(upstream).model_copy(update={"admin_listen": None})) as gateway:
        assert gateway.admin_address is None


async def test_a_loop_that_does_not_turn_is_not_live_and_one_that_turns_again_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    monkeypatch.setattr(heart, "time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(heart, "BEAT", 0.0)
    beating = Heart(Metrics())
    task = asyncio.create_task(beating.keep_beating())
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
    assert len([record for record in caplog.records if "it stands at" in record.getMessage()]) == 1


async def test_a_gateway_whose_loop_does_not_turn_is_not_ready(
    upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Gateway(settings(upstream)) as gateway:
        monkeypatch.setattr(heart, "DEAD_AFTER", -1.0)
        status, text = ask(gateway.admin_address, "/readyz")
        assert (status, text.startswith("the event loop has not turned for ")) == (503, True)
        assert "\nswr_gateway_ready 0.0\n" in ask(gateway.admin_address, "/metrics")[1]


async def test_lateness_of_the_loop_is_observed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(heart, "time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(heart, "BEAT", 0.0)
    metrics = Metrics()
    task = asyncio.create_task(Heart(metrics).keep_beating())
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


async def test_an_address_in_use_is_told_with_its_setting(upstream: ScriptedUpstream) -> None:
    async with Gateway(settings(upstream)) as first:
        second = settings(upstream).model_copy(update={"admin_listen": first.admin_address})
        with pytest.raises(ListenError, match=rf"--admin-listen: cannot listen on {first.admin_address}: .* in use"):
            await Gateway(second).__aenter__()


async def test_who_sends_no_request_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin._Handler, "timeout", 0.05)
    async with operators() as running:
        host, _, port = running.address.rpartition(":")
        with socket.create_connection((host, int(port))) as silent:
            assert silent.recv(1) == b""


async def test_nobody_who_is_silent_keeps_others_waiting() -> None:
    async with operators() as running:
        host, _, port = running.address.rpartition(":")
        with socket.create_connection((host, int(port))):
            assert ask(running.address, "/livez")[0] == 200


async def test_a_request_that_is_none_breaks_nothing() -> None:
    async with operators() as running:
        host, _, port = running.address.rpartition(":")
        with socket.create_connection((host, int(port))) as odd:
            odd.sendall(b"\x16\x03\x01\x00\r\n\r\n")
            assert odd.recv(1000)
        connection = http.client.HTTPConnection(host, int(port))
        connection.request("POST", "/metrics")
        assert connection.getresponse().status in (200, 405)
        connection.close()
        assert ask(running.address, "/livez")[0] == 200


async def test_who_is_silent_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin._Handler, "timeout", None)
    async with operators() as running:
        host, _, port = running.address.rpartition(":")
        silent = socket.create_connection((host, int(port)))
        assert ask(running.address, "/livez")[0] == 200
    silent.close()
