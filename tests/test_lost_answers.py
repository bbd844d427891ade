"""Callers that go while their answers wait to be sent: counted, and no errors."""

from __future__ import annotations

import logging

import pytest

from conftest import Serve, Served
from http2 import Kind, peer
from scripted_upstream import ScriptedUpstream, page

LIST, STREAM = "/gateway.swr.v1.RepoService/ListRepos", "/gateway.swr.v1.RepoService/StreamRepos"
CALLS = 5
CANCEL = (8).to_bytes(4, "big")


async def leave_unread(served: Served, method: str, *, resets: bool) -> None:
    """Call, and go when all the answers wait to be sent."""
    async with peer(served.address, window=0) as caller:
        streams = [caller.call(method, b"") for _ in range(CALLS)]
        await served.until(messages_waiting=CALLS)
        for stream in streams if resets else ():
            caller._send(Kind.RST_STREAM, 0, CANCEL, stream)
        if resets:
            await served.until(messages_waiting=0)
    await served.until(calls_in_flight=0, messages_waiting=0)


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("resets", [True, False], ids=["resets the call", "closes the connection"])
async def test_an_answer_whose_caller_has_gone_is_no_error(
    serve: Serve, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture, resets: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    upstream.play(page('[{"name":"a"}]'))
    served = await serve()
    while not served.metric("answers_lost_total"):
        await leave_unread(served, LIST, resets=resets)
    await served.drain()
    assert errors_in(caplog) == []
    told = [record for record in caplog.records if "the caller had gone before" in record.getMessage()]
    assert (len(told), {record.levelno for record in told}) == (served.metric("answers_lost_total"), {logging.DEBUG})


@pytest.mark.parametrize("resets", [True, False], ids=["resets the call", "closes the connection"])
async def test_a_stream_whose_caller_has_gone_is_cancelled_and_no_error(
    serve: Serve, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture, resets: bool
) -> None:
    upstream.play(page('[{"name":"a"}]'))
    served = await serve()
    await leave_unread(served, STREAM, resets=resets)
    assert served.metric("call_failures_total", grpc_method=STREAM[1:], reason="CALL_CANCELLED") == CALLS
    await served.drain()
    assert errors_in(caplog) == []


async def test_other_errors_of_grpc_are_told(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("grpc._cython.cygrpc")
    served = await serve()
    log.error("without an exception")
    log.error("with one", exc_info=ZeroDivisionError("on purpose"))
    await served.drain()
    assert errors_in(caplog) == ["without an exception", "with one"]
    assert served.metric("answers_lost_total") == 0
