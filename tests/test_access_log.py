"""One line a call: what it tells, what it never tells, and that floods are cut."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from certificates import CA, Folder, issue, issue_named, pem_of
from conftest import Serve
from failures import failure_of, read_failure
from gateway.core.errors import UPSTREAM_TIMEOUT, GatewayError
from gateway.core.trace_context import TraceContext
from gateway.logs import ConsoleFormatter, JsonFormatter
from gateway.metrics import Metrics
from gateway.reliability import timings
from gateway.reliability.cache import CacheInfo, CacheStatus
from gateway.server import ending
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from gateway.telemetry import access_log
from gateway.telemetry.access_log import AccessLog, Allowance
from gateway.telemetry.call import begin_call
from gateway.telemetry.tracing import NoTracing, PassedOn
from patience import HOUR, Advance, Clock
from ports import held_port
from scripted_upstream import Act, ScriptedUpstream, answer, page

LIST = "gateway.swr.v1.RepoService/ListRepos"
TRACE = "0af7651916cd43dd8448eb211c80319c"
CANARY = "canary-4711"
OPERATIONS = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()
REQUEST = repos_pb2.ListReposRequest(filter=repos_pb2.RepoFilter(namespace=CANARY))


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """Return the lines so far, as a reader of JSON gets them."""
    caplog.set_level(logging.INFO)
    formatter = JsonFormatter()

    def read() -> list[dict[str, Any]]:
        written = [json.loads(formatter.format(record)) for record in caplog.records]
        return [line for line in written if line["message"] == "call"]

    return read


Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock by which gateways measure how long the parts of a call take."""
    clock = Clock()
    monkeypatch.setattr(timings, "time", SimpleNamespace(perf_counter=clock))
    return clock


@pytest.fixture
def serve(serve: Serve) -> Serve:
    """Start a gateway that sends requests again and lets calls share them, as it does by default."""
    return partial(serve, retries=2, coalesce=True)


async def test_a_line_tells_what_a_call_was_and_where_its_time_went(
    serve: Serve, upstream: ScriptedUpstream, lines: Lines
) -> None:
    upstream.play(answer(503), page('[{"name":"a"},{"name":"b"}]'))
    metadata = (("x-request-id", "rq-1"), ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"))
    served = await serve()
    await served.stub.ListRepos(REQUEST, metadata=metadata)
    await served.drain()
    (line,) = lines()
    times = {name: line.pop(name) for name in ("duration_ms", "upstream_ms", "conversion_ms")}
    assert {name: line[name] for name in line.keys() - {"time", "queue_ms"}} == {
        "level": "info",
        "logger": "gateway.telemetry.access_log",
        "message": "call",
        "method": LIST,
        "code": "OK",
        "rows": 2,
        "attempts": 2,
        "upstream_status": 200,
        "request_id": "rq-1",
        "trace_id": TRACE,
    }
    assert min(times.values()) > 0
    assert times["duration_ms"] >= times["upstream_ms"] + times["conversion_ms"]


async def test_a_failure_has_its_reason_and_phase(serve: Serve, upstream: ScriptedUpstream, lines: Lines) -> None:
    upstream.play((Act.STALL,))
    served = await serve(retries=0, attempt_timeout="50ms")
    await failure_of(served.stub.ListRepos(REQUEST))
    await served.drain()
    (line,) = lines()
    told = {name: line[name] for name in ("code", "reason", "phase", "attempts")}
    assert told == {"code": "UNAVAILABLE", "reason": "UPSTREAM_TIMEOUT", "phase": "headers", "attempts": 1}
    assert "upstream_status" not in line


@pytest.mark.parametrize("coalesce", [True, False])
async def test_a_call_whose_time_ends_says_where_it_went(
    serve: Serve, upstream: ScriptedUpstream, lines: Lines, advance: Advance, clock: Clock, coalesce: bool
) -> None:
    upstream.play((Act.STALL,))
    served = await serve(timeout="1h", coalesce=coalesce)
    call = served.stub.ListRepos(REQUEST)
    await upstream.all_arrived(1)
    clock.now += HOUR
    advance(HOUR)
    await failure_of(call)
    await served.drain()
    (line,) = lines()
    assert (line["reason"], line["upstream_ms"]) == ("UPSTREAM_TIMEOUT", HOUR * 1000)


async def test_an_error_of_the_upstreams_has_its_status(serve: Serve, upstream: ScriptedUpstream, lines: Lines) -> None:
    upstream.play(answer(404))
    served = await serve()
    await failure_of(served.stub.ListRepos(REQUEST))
    await served.drain()
    (line,) = lines()
    assert (line["reason"], line["upstream_status"]) == ("UPSTREAM_NOT_FOUND", 404)


async def test_an_error_of_the_upstreams_has_what_a_ticket_with_the_cloud_must_quote(
    serve: Serve, upstream: ScriptedUpstream, lines: Lines
) -> None:
    upstream.play(answer(403, '[{"errorCode":"SVCSTG.SWR.4030001"}]', headers={"X-Request-Id": "up-1"}))
    served = await serve()
    failure = await failure_of(served.stub.ListRepos(REQUEST))
    await served.drain()
    (line,) = lines()
    assert (line["upstream_code"], line["upstream_request_id"]) == ("SVCSTG.SWR.4030001", "up-1")
    assert failure.info.metadata["upstreamCode"] == line["upstream_code"]


async def test_a_connection_that_fails_is_told_in_the_systems_words_at_debug(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "gateway.upstream.client")
    with held_port() as port:
        served = await serve(upstream_url=f"http://127.0.0.1:{port}", retries=0)
        await failure_of(served.stub.ListRepos(REQUEST))
        await served.drain()
    (line,) = [record.getMessage() for record in caplog.records if record.name == "gateway.upstream.client"]
    assert line.startswith("no connection to the upstream (connect): ")
    assert "Connect call failed" in line
    assert CANARY not in line


async def test_why_there_is_no_connection_is_in_the_line_of_the_call_and_the_caller_is_not_told(
    serve: Serve, lines: Lines
) -> None:
    with held_port() as port:
        served = await serve(upstream_url=f"http://127.0.0.1:{port}", retries=0)
        failure = await failure_of(served.stub.ListRepos(REQUEST))
        await served.drain()
    (line,) = lines()
    assert line["reason"] == "UPSTREAM_UNREACHABLE"
    assert "Connect call failed" in line["detail"]
    assert "Connect call failed" not in f"{failure.message} {failure.trailers}"


@pytest.mark.parametrize("kind", ["ListRepos", "StreamRepos"])
async def test_a_malformed_page_has_its_row_and_field_and_the_caller_is_not_told(
    serve: Serve, upstream: ScriptedUpstream, lines: Lines, kind: str
) -> None:
    upstream.play(page('[{"name":"a"},{"name":"b","size":"sécret"}]'))
    served = await serve()
    if kind == "ListRepos":
        failure = await failure_of(served.stub.ListRepos(repos_pb2.ListReposRequest(offset=20, limit=10)))
    else:
        stream = served.stub.StreamRepos(repos_pb2.StreamReposRequest(start_offset=20, page_size=10))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stream.read()
        failure = read_failure(raised.value)
    await served.drain()
    (line,) = lines()
    assert line["detail"] == "page at offset 20: row 1, field size: not an integer"
    assert failure.message == "the upstream's answer is not a list of repositories"
    assert "row 1" not in str(failure)
    assert "cret" not in str(line)


async def test_a_call_that_its_caller_left_says_how(serve: Serve, upstream: ScriptedUpstream, lines: Lines) -> None:
    upstream.play((Act.STALL,))
    reasons: list[str] = []
    served = await serve(coalesce=False)
    cancelled = served.stub.ListRepos(REQUEST)
    await upstream.all_arrived(1)
    cancelled.cancel()
    await upstream.all_hung_up(1)
    # On a busy machine a request takes so long to arrive that the caller's time ends far ahead of the gateway's.
    while "DEADLINE_EXCEEDED" not in reasons:
        await failure_of(served.stub.ListRepos(REQUEST, timeout=0.2))
        reasons = [line["reason"] for line in lines()]
    assert reasons[0] == "CALL_CANCELLED"


async def test_a_call_that_is_cancelled_a_moment_before_its_deadline_was_late(
    serve: Serve, upstream: ScriptedUpstream, lines: Lines
) -> None:
    upstream.play((Act.STALL,))
    served = await serve(coalesce=False)
    arriving = asyncio.ensure_future(upstream.all_arrived(1))
    while not arriving.done():  # on a busy machine the time may end before the request has left
        call = served.stub.ListRepos(REQUEST, timeout=ending.CLOCK_LEAD)
        await asyncio.wait({arriving, asyncio.ensure_future(call.code())}, return_when=asyncio.FIRST_COMPLETED)
        call.cancel()
    await served.drain()
    assert {line["reason"] for line in lines()} == {"DEADLINE_EXCEEDED"}


async def test_a_call_that_waited_for_its_turn_says_how_long(
    serve: Serve, upstream: ScriptedUpstream, lines: Lines, clock: Clock
) -> None:
    release = asyncio.Event()
    upstream.play((release, page("[]")), page("[]"))
    served = await serve(max_in_flight=1, max_queue=1, coalesce=False)
    calls = {asyncio.ensure_future(served.stub.ListRepos(REQUEST))}
    await upstream.all_arrived(1)
    others = {asyncio.ensure_future(served.stub.ListRepos(REQUEST)) for _ in range(2)}
    # One of the two waits for its turn where the other one is refused.
    (refused,), (waiting,) = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
    assert refused.exception()
    clock.now += 7.0
    release.set()
    await asyncio.gather(*calls, waiting)
    await served.drain()
    assert sorted(line.get("queue_ms", 0) for line in lines()) == [0, 0, 7000]
    assert [line.get("attempts") for line in lines()] == [None, 1, 1]


async def test_a_stream_is_one_line_for_all_of_its_pages(
    serve: Serve, upstream: ScriptedUpstream, lines: Lines
) -> None:
    upstream.play(page('[{"name":"a"},{"name":"b"}]'), page('[{"name":"c"}]'))
    served = await serve()
    async for _ in served.stub.StreamRepos(repos_pb2.StreamReposRequest(page_size=2)):
        pass
    await served.drain()
    (line,) = lines()
    assert (line["method"], line["rows"], line["attempts"]) == ("gateway.swr.v1.RepoService/StreamRepos", 3, 2)
    assert line["conversion_ms"] > 0


async def test_a_remembered_page_says_so_and_has_no_attempts(
    serve: Serve, upstream: ScriptedUpstream, lines: Lines
) -> None:
    upstream.play(page('[{"name":"a"}]'))
    served = await serve(cache_ttl="1h")
    await served.stub.ListRepos(REQUEST)
    await served.stub.ListRepos(REQUEST)
    await served.drain()
    first, second = lines()
    assert "from_cache" not in first
    assert second["from_cache"] == "hit"
    assert "attempts" not in second


async def test_no_line_shows_what_was_asked_for_or_answered(
    serve: Serve, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    upstream.play(page(f'[{{"name":"{CANARY}"}}]'), answer(400, body=CANARY))
    metadata = (("x-request-id", f"{CANARY} odd"), ("x-auth-token", CANARY), ("tracestate", CANARY))
    served = await serve()
    await served.stub.ListRepos(REQUEST, metadata=metadata)
    await failure_of(served.stub.ListRepos(REQUEST, metadata=metadata))
    await served.drain()
    text = "".join(JsonFormatter().format(record) + ConsoleFormatter().format(record) for record in caplog.records)
    assert text.count("gateway.swr.v1.RepoService/ListRepos") == 4
    assert CANARY not in text


async def test_health_checks_are_not_worth_a_line(serve: Serve, lines: Lines) -> None:
    served = await serve()
    await served.channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
    await served.drain()
    assert not lines()


async def test_a_caller_with_a_certificate_is_named(serve: Serve, tmp_path: Path, lines: Lines) -> None:
    server, caller = issue("localhost"), issue_named("DNS:a.example", "URI:spiffe://corp/ns/a/sa/b")
    files = Folder(tmp_path / "tls", tls_cert=server.chain, tls_key=server.key, tls_client_ca=pem_of(CA))
    paths = {name: str(files.path(name)) for name in ("tls_cert", "tls_key", "tls_client_ca")}
    credentials = grpc.ssl_channel_credentials(pem_of(CA), caller.key, caller.chain)
    served = await serve(**paths)
    async with grpc.aio.secure_channel(f"localhost:{served.address.rpartition(':')[2]}", credentials) as channel:
        await RepoServiceStub(channel).ListRepos(REQUEST)
    await served.drain()
    (line,) = lines()
    assert line["caller"] == "spiffe://corp/ns/a/sa/b"


def test_every_member_of_a_line_is_explained(lines: Lines) -> None:
    call = begin_call(LIST, (), NoTracing())
    call.rows, call.trace = 1, PassedOn(TraceContext(TRACE, {}, sampled=True))
    call.from_cache = CacheInfo(CacheStatus.HIT, age=1)
    call.timings.attempts, call.timings.status = 1, 200
    for stopwatch in (call.timings.queued, call.timings.fetching, call.timings.converting):
        stopwatch.add(1.0)
    log, error = AccessLog(Metrics(), Clock()), GatewayError(UPSTREAM_TIMEOUT, phase="headers")
    log._failed._dropped = 1
    log.write(call, 1.0, 14, error, lambda: "a.example", logging.INFO)
    explained = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", OPERATIONS, re.MULTILINE)))
    (line,) = lines()
    members = line.keys() - {"time", "level", "logger", "message"}
    assert members | {"worker"} <= set(explained)


def test_so_many_lines_at_once_and_so_many_a_second() -> None:
    clock = Clock()
    allowance = Allowance(clock)
    assert [allowance.take() for _ in range(int(access_log.AT_ONCE))] == [0] * int(access_log.AT_ONCE)
    assert [allowance.take() for _ in range(3)] == [None] * 3
    clock.now += 1.0
    assert [allowance.take() for _ in range(int(access_log.PER_SECOND) + 1)] == [
        3,
        *[0] * (int(access_log.PER_SECOND) - 1),
        None,
    ]


def test_a_flood_is_cut_and_counted_and_does_not_hide_the_failures(lines: Lines) -> None:
    metrics, clock = Metrics(), Clock()
    log = AccessLog(metrics, clock)
    call = begin_call(LIST, (), NoTracing())

    def write(count: int, code: int, error: GatewayError | None) -> None:
        for _ in range(count):
            log.write(call, 0.001, code, error, str, logging.INFO)

    write(int(access_log.AT_ONCE) + 7, 0, None)
    write(1, 14, GatewayError(UPSTREAM_TIMEOUT))
    clock.now += 1.0
    write(1, 0, None)
    assert metrics.registry.get_sample_value("swr_gateway_access_log_dropped_total") == 7
    *_, failure, last = lines()
    assert (len(lines()), failure["reason"], last["dropped"]) == (int(access_log.AT_ONCE) + 2, "UPSTREAM_TIMEOUT", 7)


def test_below_the_level_nothing_is_written_and_nothing_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    metrics = Metrics()
    log, call = AccessLog(metrics, Clock()), begin_call(LIST, (), NoTracing())
    for _ in range(1000):
        log.write(call, 0.001, 0, None, str, logging.INFO)
    assert not caplog.records
    assert metrics.registry.get_sample_value("swr_gateway_access_log_dropped_total") == 0
