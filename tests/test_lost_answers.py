"""Callers that go while their answers wait to be sent: counted, and no errors."""

from __future__ import annotations

import logging

import pytest

from gateway.server.gateway import Gateway
from gateway.settings.model import Settings
from http2 import Kind, peer
from patience import PATIENT, until
from scripted_upstream import ScriptedUpstream, page

LIST, STREAM = "/gateway.swr.v1.RepoService/ListRepos", "/gateway.swr.v1.RepoService/StreamRepos"
CALLS = 5
CANCEL = (8).to_bytes(4, "big")


def settings(upstream: ScriptedUpstream) -> Settings:
    plain = {"auth": "none", "listen": "127.0.0.1:0", "admin_listen": None, "upstream_url": upstream.url}
    return Settings.model_validate(plain | {"coalesce": False} | PATIENT)


def value(gateway: Gateway, name: str, **labels: str) -> float:
    return gateway._metrics.registry.get_sample_value(f"swr_gateway_{name}", labels) or 0.0


async def leave_unread(gateway: Gateway, method: str, *, resets: bool) -> None:
    """Call, and go when all the answers wait to be sent."""
    async with peer(gateway.addresses[0], window=0) as caller:
        streams = [caller.call(method, b"") for _ in range(CALLS)]
        await until(lambda: value(gateway, "messages_waiting") == CALLS)
        for stream in streams if resets else ():
            caller._send(Kind.RST_STREAM, 0, CANCEL, stream)
        if resets:
            await until(lambda: not value(gateway, "messages_waiting"))
    await until(lambda: not value(gateway, "calls_in_flight") and not value(gateway, "messages_waiting"))


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("resets", [True, False], ids=["resets the call", "closes the connection"])
async def test_an_answer_whose_caller_has_gone_is_no_error(
    upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture, resets: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    upstream.play(page('[{"name":"a"}]'))
    async with Gateway(settings(upstream)) as gateway:
        while not value(gateway, "answers_lost_total"):
            await leave_unread(gateway, LIST, resets=resets)
    assert errors_in(caplog) == []
    told = [record for record in caplog.records if "the caller had gone before" in record.getMessage()]
    assert (len(told), {record.levelno for record in told}) == (value(gateway, "answers_lost_total"), {logging.DEBUG})


@pytest.mark.parametrize("resets", [True, False], ids=["resets the call", "closes the connection"])
async def test_a_stream_whose_caller_has_gone_is_cancelled_and_no_error(
    upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture, resets: bool
) -> None:
    upstream.play(page('[{"name":"a"}]'))
    async with Gateway(settings(upstream)) as gateway:
        await leave_unread(gateway, STREAM, resets=resets)
        assert value(gateway, "call_failures_total", grpc_method=STREAM[1:], reason="CALL_CANCELLED") == CALLS
    assert errors_in(caplog) == []


async def test_other_errors_of_grpc_are_told(upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("grpc._cython.cygrpc")
    async with Gateway(settings(upstream)) as gateway:
        log.error("without an exception")
        log.error("with one", exc_info=ZeroDivisionError("on purpose"))
    assert errors_in(caplog) == ["without an exception", "with one"]
    assert value(gateway, "answers_lost_total") == 0
