"""What a call costs the upstream: retries, told waits, the budget, deadlines and the circuit, on real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from prometheus_client.parser import text_string_to_metric_families

from failures import Failure, failure_of, read_failure
from gateway.core import breaker
from gateway.core.errors import GatewayError
from gateway.core.signature import sign
from gateway.reliability.progress import Deadline, Progress, within
from gateway.server.gateway import Gateway
from gateway.settings.model import Settings
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from scripted_upstream import Act, Request, Script, ScriptedUpstream, answer, page

EMPTY = page("[]")
OPERATED = {"admin_listen": "127.0.0.1:0"}
DEADLINE_EXCEEDED, UNAVAILABLE = grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE


@dataclass
class Served:
    """A gateway: its callers' side, and its operators'."""

    stub: Any
    health: Any
    admin: str | None

    def list(self, name: str = "", **options: Any) -> Any:
        return self.stub.ListRepos(repos_pb2.ListReposRequest(filter=repos_pb2.RepoFilter(name=name)), **options)

    async def fail(self, name: str = "", **options: Any) -> Failure:
        return await failure_of(self.list(name, **options))

    async def look(self, path: str) -> str:
        """Ask the operators' side, whose answer must be 200."""
        async with aiohttp.request("GET", f"http://{self.admin}{path}", raise_for_status=True) as response:
            return await response.text()

    async def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        families = text_string_to_metric_families(await self.look("/metrics"))
        samples = (sample for family in families for sample in family.samples)
        return sum(sample.value for sample in samples if sample.name == f"swr_gateway_{name}")

    async def until(self, name: str, least: float) -> None:
        async with asyncio.timeout(5):
            while await self.metric(name) < least:
                pass


Serve = Callable[..., Awaitable[Served]]
Options = dict[str, Any]


@pytest.fixture
async def serve(upstream: ScriptedUpstream) -> AsyncIterator[Serve]:
    """Start a gateway as it is by default, but for calls that share requests."""
    async with AsyncExitStack() as stack:

        async def start(**given: Any) -> Served:
            defaults: dict[str, Any] = {"upstream_url": upstream.url, "auth": "none", "drain_grace": "1s"}
            defaults |= {"listen": "127.0.0.1:0", "admin_listen": None, "coalesce": False}
            gateway = await stack.enter_async_context(Gateway(Settings(**defaults | given)))
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(gateway.addresses[0]))
            return Served(RepoServiceStub(channel), HealthStub(channel), gateway.admin_address)

        yield start


def told(status: int, wait: str, code: str = "") -> bytes:
    return answer(status, json.dumps({"error_code": code}), {"Retry-After": wait})


def throttled(limit: str) -> bytes:
    text = f"The throttling threshold has been reached: policy user over ratelimit,{limit}"
    return answer(429, json.dumps({"error_code": "APIGW.0308", "error_msg": text}))


def asked_for(upstream: ScriptedUpstream) -> list[str]:
    return [request.clause("name") for request in upstream.requests]


def retry_info(failure: Failure) -> float:
    detail = failure.details["RetryInfo"]
    assert isinstance(detail, error_details_pb2.RetryInfo)
    return detail.retry_delay.ToNanoseconds() / 1e9


Answers = Callable[[str], bytes]


class Once:
    """Answers the first request for a name, or a page, in a way of its own, and the others with a page."""

    def __init__(self, first: Answers, later: Answers = lambda _: EMPTY, key: str = "name") -> None:
        self.first, self.later, self.key = first, later, key
        self.seen: set[str] = set()

    def __call__(self, request: Request) -> bytes:
        asked = request.clause(self.key)
        play = self.later if asked in self.seen else self.first
        self.seen.add(asked)
        return play(asked)


# Sent again, or not

RETRYABLE: dict[str, Script] = {
    **{str(status): (answer(status),) for status in (408, 423, 425, 499, 502, 503)},
    "busy": (answer(409, '{"error_code":"SVCSTG.SWR.4090023"}'),),
    "closed": (Act.CLOSE,),
    "reset": (Act.RESET,),
    "half an answer": (EMPTY[:-1], Act.CLOSE),
    "stalled": (Act.STALL,),
    "stalled in the body": (EMPTY[:-1], Act.STALL),
}
ONCE = {str(status): answer(status) for status in (500, 504, 520, 599)}
NEVER = {
    **{str(status): answer(status) for status in (302, 400, 401, 403, 404, 409, 418, 429, 501, 505, 507)},
    "malformed": page("[{"),
    "no list": page('{"a":1}'),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
}


@pytest.mark.parametrize("fault", RETRYABLE.values(), ids=RETRYABLE)
async def test_what_may_be_sent_again_is_until_there_is_a_page_or_no_retry_left(
    serve: Serve, upstream: ScriptedUpstream, fault: Script
) -> None:
    served = await serve(attempt_timeout="300ms" if Act.STALL in fault else "5s")
    upstream.play(fault, fault, page('[{"name":"a"}]'))
    reply = await served.list("n", metadata=(("x-request-id", "one-call"),))
    assert [repo.name for repo in reply.repos] == ["a"]
    assert [request.headers["x-request-id"] for request in upstream.requests] == ["one-call"] * 3
    assert asked_for(upstream) == ["n"] * 3
    upstream.play(fault)
    assert (await served.fail()).info.metadata["attempts"] == "3"
    assert len(upstream.requests) == 6


async def test_without_retries_there_is_one_request(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(answer(503))
    assert (await (await serve(retries=0)).fail()).info.metadata["attempts"] == "1"
    assert len(upstream.requests) == 1


async def test_a_refused_connection_is_tried_again(serve: Serve) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        failure = await (await serve(upstream_url=f"http://127.0.0.1:{taken.getsockname()[1]}")).fail()
    assert (failure.reason, failure.info.metadata["attempts"]) == ("UPSTREAM_UNREACHABLE", "3")


@pytest.mark.parametrize("script", NEVER.values(), ids=NEVER)
async def test_what_must_not_be_sent_again_is_told_after_one_request(
    serve: Serve, upstream: ScriptedUpstream, script: bytes
) -> None:
    upstream.play(script, EMPTY)
    failure = await (await serve(retries=5)).fail()
    assert failure.info.metadata["attempts"] == "1"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("script", ONCE.values(), ids=ONCE)
async def test_what_may_be_sent_again_once_is_sent_twice(
    serve: Serve, upstream: ScriptedUpstream, script: bytes
) -> None:
    upstream.play(script)
    served = await serve(retries=5)
    assert (await served.fail()).info.metadata["attempts"] == "2"
    upstream.play(script, EMPTY)
    assert not (await served.list()).repos


# Waits that the upstream asks for

PAST, FAR = "Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"
AT_ONCE = {
    "503, seconds": told(503, "0"),
    "503, date": told(503, PAST),
    "429, seconds": told(429, "0"),
    "403 that limits": told(403, "0", "SVCSTG.SWR.4031032"),
    "throttled": throttled("limit:5,time:0 second"),
}


@pytest.mark.parametrize("script", AT_ONCE.values(), ids=AT_ONCE)
async def test_a_told_wait_that_is_over_is_followed_by_another_request(
    serve: Serve, upstream: ScriptedUpstream, script: bytes
) -> None:
    upstream.play(script, EMPTY)
    assert not (await (await serve()).list()).repos
    assert len(upstream.requests) == 2


async def test_a_told_wait_is_waited_for(serve: Serve, upstream: ScriptedUpstream) -> None:
    waits = {"long": "9", "short": "1"}
    upstream.play((Once(lambda name: told(503, waits[name])),))
    served = await serve(**OPERATED)
    waiting = served.list("long")
    await served.until("upstream_attempts_total", 1)
    await served.list("short")
    assert asked_for(upstream) == ["long", "short", "short"]
    waiting.cancel()


@pytest.mark.parametrize(
    ("script", "options", "wait", "pushback"),
    [
        pytest.param(told(503, "100"), {}, 100, "100000", id="503"),
        pytest.param(told(429, "100"), {}, 100, "100000", id="429"),
        pytest.param(told(503, FAR), {}, 86_400, "86400000", id="date"),
        pytest.param(throttled("limit:100,time:1 minute"), {}, 60, "60000", id="throttled"),
        pytest.param(told(503, "12"), {"timeout": 10}, 12, "-1", id="behind the deadline"),
    ],
)
async def test_a_told_wait_that_does_not_fit_is_passed_on_at_once(
    serve: Serve, upstream: ScriptedUpstream, script: bytes, options: Options, wait: float, pushback: str
) -> None:
    upstream.play(script, EMPTY)
    failure = await (await serve()).fail(**options)
    assert failure.info.metadata["attempts"] == "1"
    assert (retry_info(failure), failure.trailers["grpc-retry-pushback-ms"]) == (wait, pushback)
    assert len(upstream.requests) == 1


# How much in all


async def test_a_storm_does_not_spend_more_than_the_budget(
    serve: Serve, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "LEAST_ATTEMPTS", 1_000_000)
    upstream.play(answer(503, "{}"))
    served = await serve(retries=10, **OPERATED)
    began, calls = time.monotonic(), 300
    failures = [f for _ in range(calls // 50) for f in await asyncio.gather(*(served.fail() for _ in range(50)))]
    elapsed = time.monotonic() - began
    assert calls + 35 < len(upstream.requests) <= calls + 10 + calls / 10 + elapsed + 1
    assert {failure.info.metadata["httpStatus"] for failure in failures} == {"503"}
    assert await served.metric("upstream_retries_total") == len(upstream.requests) - calls
    assert await served.metric("upstream_retries_refused_total") == calls


async def test_a_spent_budget_fills_up_again_and_is_shown_so(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(told(503, "0"))
    served = await serve(retries=10, **OPERATED)
    for _ in range(2):
        await served.fail()
    assert await served.metric("upstream_retries_refused_total") == 1
    await served.until("upstream_retry_budget", 1)


async def test_requests_are_counted_beside_calls(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(answer(503), EMPTY, (Act.RESET,), answer(503), EMPTY, answer(404), answer(500), EMPTY)
    served = await serve(**OPERATED)
    for call in (served.list, served.list, served.fail, served.list):
        await call()
    assert await served.metric("upstream_attempts_total") == len(upstream.requests) == 8
    assert await served.metric("upstream_retries_total") == 4


# Deadlines and cancellations


async def test_a_cancelled_call_hangs_up(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play((Act.STALL,))
    call = (await serve()).list()
    await upstream.arrived.wait()
    call.cancel()
    await asyncio.wait_for(upstream.all_hung_up(1), 3)


@pytest.mark.parametrize(
    ("given", "options", "code"),
    [
        pytest.param({}, {"timeout": 1}, DEADLINE_EXCEEDED, id="caller"),
        pytest.param({"timeout": "400ms"}, {}, UNAVAILABLE, id="gateway"),
        pytest.param({"timeout": "400ms"}, {"timeout": 20}, UNAVAILABLE, id="gateway before caller"),
    ],
)
async def test_a_call_whose_time_ends_within_an_attempt_hangs_up(
    serve: Serve, upstream: ScriptedUpstream, given: Options, options: Options, code: grpc.StatusCode
) -> None:
    upstream.play((Act.STALL,))
    assert (await (await serve(**given)).fail(**options)).code is code
    await asyncio.wait_for(upstream.all_hung_up(1), 3)
    assert len(upstream.requests) == 1


async def test_every_attempt_that_is_given_up_hangs_up(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play((Act.STALL,))
    await (await serve(attempt_timeout="100ms")).fail()
    await asyncio.wait_for(upstream.all_hung_up(3), 3)


async def test_who_leaves_while_waiting_for_a_retry_sends_none(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play((Once(lambda _: told(503, "1")),))
    served = await serve(**OPERATED)
    left = served.list("left")
    await served.until("upstream_attempts_total", 1)
    left.cancel()
    await served.list("stayed")  # it is sent again later than the other would have been
    assert asked_for(upstream) == ["left", "stayed", "stayed"]


async def test_a_callers_deadline_ends_the_retries(serve: Serve, upstream: ScriptedUpstream) -> None:
    busy = answer(503)
    firsts, others = {"early": busy, "later": told(503, "1")}, {"early": busy, "later": EMPTY}
    upstream.play((Once(firsts.__getitem__, others.__getitem__),))
    served = await serve(retries=10)
    await served.fail("early", timeout=0.6)
    await served.list("later")  # it is sent again later than any backoff would end
    assert asked_for(upstream)[:2] == ["early", "early"]
    assert asked_for(upstream)[-2:] == ["later", "later"]


async def test_the_gateways_own_limit_tells_the_last_real_failure(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(answer(503), (Act.STALL,))
    failure = await (await serve(timeout="500ms")).fail()
    assert (failure.reason, failure.info.metadata["httpStatus"]) == ("UPSTREAM_UNAVAILABLE", "503")
    assert failure.info.metadata["attempts"] == "2"


async def test_a_deadline_that_leaves_no_time_is_exceeded_without_a_request(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    served = await serve()
    await served.list("first")
    for _ in range(20):
        assert (await served.fail("hasty", timeout=0.004)).code is DEADLINE_EXCEEDED
    await served.list("last")
    assert asked_for(upstream) == ["first", "last"]


async def test_an_exceeded_deadline_tells_its_attempts() -> None:
    # Of the callee alone: grpc has the same deadline, and is often faster to tell.
    now = asyncio.get_running_loop().time()
    deadline = Deadline(now, by_caller=True)
    progress = Progress(deadline)
    progress.attempts = 2
    with pytest.raises(GatewayError) as raised:
        await within(deadline, progress, asyncio.Event().wait())
    assert (raised.value.cause.reason, raised.value.attempts) == ("DEADLINE_EXCEEDED", 2)


async def test_each_attempt_is_signed_anew(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(told(503, "1"), EMPTY)
    await (await serve(auth="aksk", access_key="name", secret_key="secret")).list()
    for request in upstream.requests:
        signed = {name: request.headers[name] for name in ("host", "x-sdk-date")}
        assert request.headers["authorization"] == sign("secret", "GET", request.target, signed).authorization("name")
    assert len({request.headers["x-sdk-date"] for request in upstream.requests}) == 2


# Streams


async def test_a_page_of_a_stream_that_fails_once_is_not_lost(serve: Serve, upstream: ScriptedUpstream) -> None:
    rows = [{"name": f"r-{number}", "namespace": "n"} for number in range(45)]

    def listing(offset: str) -> bytes:
        part = rows[int(offset) : int(offset) + 10]
        return page(json.dumps(part), {"Content-Range": f"{offset}-{len(part)}/{len(rows)}"})

    upstream.play((Once(lambda _: answer(503), listing, "offset"),))
    call = (await serve()).stub.StreamRepos(repos_pb2.StreamReposRequest(page_size=10))
    assert [repo.name async for message in call for repo in message.repos] == [row["name"] for row in rows]
    asked = Counter(request.clause("offset") for request in upstream.requests)
    assert asked == {str(offset): 2 for offset in range(0, 45, 10)}


async def test_a_stream_tells_the_attempts_for_a_page_that_is_none(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(answer(503), page("[{"))
    call = (await serve()).stub.StreamRepos(repos_pb2.StreamReposRequest())
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call.read()
    assert read_failure(raised.value).info.metadata["attempts"] == "2"


# The circuit


async def sickened(serve: Serve, upstream: ScriptedUpstream) -> Served:
    """Start a gateway, and let its upstream fail until the circuit opens."""
    served = await serve(retries=0, **OPERATED)
    upstream.play(answer(503))
    await asyncio.gather(*(served.list() for _ in range(20)), return_exceptions=True)
    return served


async def arrivals(upstream: ScriptedUpstream, number: int) -> None:
    while len(upstream.requests) < number:
        upstream.arrived.clear()
        await upstream.arrived.wait()


async def test_an_open_circuit_is_told_and_the_gateway_goes_on_serving(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    served = await sickened(serve, upstream)
    failure = await served.fail()
    assert (failure.code, failure.reason) == (UNAVAILABLE, "UPSTREAM_CIRCUIT_OPEN")
    assert 0 < retry_info(failure) <= 5.5
    assert 0 < int(str(failure.trailers["grpc-retry-pushback-ms"])) <= 5500
    assert "attempts" not in failure.info.metadata
    assert len(upstream.requests) == 20
    assert await served.metric("upstream_circuit_open") == 1
    assert await served.look("/readyz") == "ok\nupstream circuit: open\n"
    health = await served.health.Check(health_pb2.HealthCheckRequest())
    assert health.status == health_pb2.HealthCheckResponse.SERVING


async def test_requests_that_are_sent_again_count_for_the_circuit(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(told(503, "0"))
    served = await serve(retries=2)
    reasons = [(await served.fail()).reason for _ in range(11)]
    assert reasons[-1] == "UPSTREAM_CIRCUIT_OPEN"
    assert len(upstream.requests) == 20


async def test_half_open_one_request_of_many_is_sent_and_its_answer_closes(
    serve: Serve, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "FIRST_COOL_DOWN", 0.0)
    served = await sickened(serve, upstream)
    release = asyncio.Event()
    upstream.play((release, EMPTY))
    endings: Any = asyncio.as_completed([served.list() for _ in range(50)], timeout=10)
    assert {(await failure_of(next(endings))).reason for _ in range(49)} == {"UPSTREAM_CIRCUIT_OPEN"}
    assert len(upstream.requests) == 21
    assert await served.look("/readyz") == "ok\nupstream circuit: half-open\n"
    release.set()
    assert not (await next(endings)).repos
    assert await served.metric("upstream_circuit_open") == 0
    await asyncio.gather(*(served.list() for _ in range(50)))
    assert len(upstream.requests) == 71


async def test_a_probe_whose_caller_leaves_makes_room_for_another(
    serve: Serve, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "FIRST_COOL_DOWN", 0.0)
    served = await sickened(serve, upstream)
    upstream.play((Act.STALL,), EMPTY)
    probe = served.list()
    await arrivals(upstream, 21)
    assert (await served.fail()).reason == "UPSTREAM_CIRCUIT_OPEN"
    probe.cancel()
    await upstream.all_hung_up(1)
    assert not (await served.list()).repos


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 501])
async def test_answers_that_are_no_outage_do_not_open_the_circuit(
    serve: Serve, upstream: ScriptedUpstream, status: int
) -> None:
    upstream.play(answer(status))
    served = await serve(retries=0)
    await asyncio.gather(*(served.fail() for _ in range(60)))
    assert len(upstream.requests) == 60


async def test_callers_deadlines_do_not_open_the_circuit(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play((Act.STALL,))
    served = await serve(retries=0)
    while len(upstream.requests) < 20:
        await asyncio.gather(*(served.list(timeout=0.4) for _ in range(20)), return_exceptions=True)
    await asyncio.wait_for(upstream.all_hung_up(20), 10)
    upstream.play(EMPTY)
    assert not (await served.list()).repos


async def test_cancellations_do_not_open_the_circuit(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play((Act.STALL,))
    served = await serve(retries=0)
    calls = [served.list() for _ in range(20)]
    await arrivals(upstream, 20)
    for call in calls:
        call.cancel()
    await asyncio.wait_for(upstream.all_hung_up(20), 10)
    upstream.play(EMPTY)
    assert not (await served.list()).repos


# What a failure is not

HUNG = [
    pytest.param({"timeout": "300ms"}, {}, True, id="the gateway's own limit"),
    pytest.param({}, {"timeout": 0.3}, False, id="a caller in a hurry"),
]


@pytest.mark.parametrize(("given", "options", "opens"), HUNG)
async def test_an_upstream_that_hangs_opens_the_circuit_unless_only_callers_were_in_a_hurry(
    serve: Serve,
    upstream: ScriptedUpstream,
    given: dict[str, Any],
    options: dict[str, Any],
    opens: bool,
) -> None:
    upstream.play((Act.STALL,))
    served = await serve(**OPERATED, **given)
    await asyncio.gather(*(served.fail(str(number), **options) for number in range(20)))
    failure = await served.fail("after", **options)
    assert (failure.details.get("ErrorInfo") is not None and failure.reason == "UPSTREAM_CIRCUIT_OPEN") is opens
    # On a busy machine the time may end before a request has left.
    assert len(upstream.requests) <= await served.metric("upstream_attempts_total")


async def test_a_request_that_could_not_be_sent_again_leaves_the_answer_to_the_one_before(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    release = asyncio.Event()
    served = await serve(max_in_flight=1, max_queue=0, **OPERATED)
    upstream.play(told(503, "1"), (release, EMPTY))
    first = asyncio.ensure_future(served.fail("first"))
    await served.until("upstream_attempts_total", 1)
    second = served.list("second")
    failure = await first
    assert (failure.reason, failure.info.metadata["attempts"]) == ("UPSTREAM_UNAVAILABLE", "1")
    assert await served.metric("upstream_retries_total") == 0
    release.set()
    await second


async def test_who_was_retried_for_is_told_not_to_retry(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(answer(503))
    assert (await (await serve()).fail()).trailers["grpc-retry-pushback-ms"] == "-1"
    assert (await (await serve(retries=0)).fail()).trailers["grpc-retry-pushback-ms"] == "1000"


async def test_busy_is_no_outage(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(answer(423))
    served = await serve(retries=0)
    for number in range(25):
        assert (await served.fail(str(number))).reason == "UPSTREAM_BUSY"


async def test_a_burst_of_thousands_is_answered_by_the_gateway(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(EMPTY)
    served = await serve(max_in_flight=1, max_queue=1)
    calls = [served.list(str(number)) for number in range(4000)]
    codes = [await call.code() for call in calls]  # gRPC by itself would cancel some
    assert {*codes} == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
