"""What a call costs the upstream: retries, told waits, the budget, deadlines and the circuit, on real sockets."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2

from conftest import OPERATED, Serve, Served
from failures import Failure, failure_of, read_failure
from gateway.core import breaker, retry
from gateway.core.errors import GatewayError
from gateway.core.retry import RetryBudget
from gateway.core.signature import sign
from gateway.reliability.deadline import Deadline
from gateway.reliability.progress import Progress, within
from gateway.swr.v1 import repos_pb2
from patience import HOUR, Advance, until
from ports import held_port
from scripted_upstream import Act, Request, Script, ScriptedUpstream, answer, page

Options = dict[str, Any]
EMPTY = page("[]")
pytestmark = pytest.mark.usefixtures("patient_circuit")
DEADLINE_EXCEEDED, UNAVAILABLE = grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def serve(serve: Serve) -> Serve:
    """Start a gateway that sends requests again as often as it does by default."""
    return partial(serve, retries=2)


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


async def lose_patience(upstream: ScriptedUpstream, advance: Advance, *arrivals: int) -> None:
    """Let an hour pass whenever so many requests have arrived in all."""
    for count in arrivals:
        await upstream.all_arrived(count)
        advance(HOUR)


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
    serve: Serve, upstream: ScriptedUpstream, advance: Advance, fault: Script
) -> None:
    served, stalls = await serve(attempt_timeout="1h"), Act.STALL in fault
    upstream.play(fault, fault, page('[{"name":"a"}]', {"Connection": "close"}))
    call = served.list("n", metadata=(("x-request-id", "one-call"),))
    if stalls:
        await lose_patience(upstream, advance, 1, 2)
    assert [repo.name for repo in (await call).repos] == ["a"]
    assert [request.headers["x-request-id"] for request in upstream.requests] == ["one-call"] * 3
    assert asked_for(upstream) == ["n"] * 3
    upstream.play(fault)
    failing = asyncio.ensure_future(served.fail())
    if stalls:
        await lose_patience(upstream, advance, 4, 5, 6)
    assert (await failing).info.metadata["attempts"] == "3"
    assert len(upstream.requests) == 6


async def test_without_retries_there_is_one_request(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(answer(503))
    assert (await (await serve(retries=0)).fail()).info.metadata["attempts"] == "1"
    assert len(upstream.requests) == 1


async def test_a_refused_connection_is_tried_again(serve: Serve) -> None:
    with held_port() as port:
        failure = await (await serve(upstream_url=f"http://127.0.0.1:{port}")).fail()
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


async def test_a_told_wait_is_waited_for(serve: Serve, upstream: ScriptedUpstream, advance: Advance) -> None:
    upstream.play((Once(lambda _: told(503, "7200")),))
    served = await serve()
    waiting = served.list("told")
    await served.until(upstream_attempts_total=1)
    advance(HOUR)
    upstream.play((Once(lambda _: EMPTY),))
    await served.list("other")
    assert asked_for(upstream) == ["told", "other"]
    advance(HOUR)
    await waiting
    assert asked_for(upstream) == ["told", "other", "told"]


@pytest.mark.parametrize(
    ("script", "options", "wait", "pushback"),
    [
        pytest.param(told(503, "4000"), {}, 4000, "4000000", id="503"),
        pytest.param(told(429, "4000"), {}, 4000, "-1", id="429"),
        pytest.param(told(503, FAR), {}, 86_400, "86400000", id="date"),
        pytest.param(throttled("limit:100,time:90 minute"), {}, 5400, "-1", id="throttled"),
        pytest.param(told(503, "1200"), {"timeout": 600}, 1200, "-1", id="behind the deadline"),
    ],
)
async def test_a_told_wait_that_does_not_fit_is_passed_on_at_once(
    serve: Serve, upstream: ScriptedUpstream, script: bytes, options: Options, wait: float, pushback: str
) -> None:
    upstream.play(script, EMPTY)
    failure = await (await serve(timeout="1h")).fail(**options)
    assert failure.info.metadata["attempts"] == "1"
    assert (retry_info(failure), failure.trailers["grpc-retry-pushback-ms"]) == (wait, pushback)
    assert len(upstream.requests) == 1


# How much in all


async def test_a_storm_does_not_spend_more_than_the_budget(
    serve: Serve, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RetryBudget, "PER_SECOND", 0.0)
    upstream.play(answer(503, "{}"))
    served, calls = await serve(retries=10, circuit=False), 300
    failures = [f for _ in range(calls // 50) for f in await asyncio.gather(*(served.fail() for _ in range(50)))]
    assert calls + 30 < len(upstream.requests) <= calls + 10 + calls / 10
    assert {failure.info.metadata["httpStatus"] for failure in failures} == {"503"}
    assert served.metric("upstream_retries_total") == len(upstream.requests) - calls
    assert served.metric("upstream_retries_refused_total") == calls


async def test_a_spent_budget_fills_up_again_and_is_shown_so(
    serve: Serve, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIRST_BACKOFF", 0.0)
    monkeypatch.setattr(RetryBudget, "PER_SECOND", 0.0)
    upstream.play(told(503, "0"))
    served = await serve(retries=10)
    for _ in range(2):
        await served.fail()
    assert served.metric("upstream_retries_refused_total") == 1
    assert served.metric("upstream_retry_budget") < 1
    monkeypatch.setattr(RetryBudget, "PER_SECOND", 1000.0)
    await until(lambda: served.metric("upstream_retry_budget") >= 1)


async def test_requests_are_counted_beside_calls(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(answer(503), EMPTY, (Act.RESET,), answer(503), EMPTY, answer(404), answer(500), EMPTY)
    served = await serve()
    for call in (served.list, served.list, served.fail, served.list):
        await call()
    assert served.metric("upstream_attempts_total") == len(upstream.requests) == 8
    assert served.metric("upstream_retries_total") == 3
    assert served.metric("upstream_resends_total") == 1


# Deadlines and cancellations


async def test_a_cancelled_call_hangs_up(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play((Act.STALL,))
    call = (await serve()).list()
    await upstream.all_arrived(1)
    call.cancel()
    await upstream.all_hung_up(1)


async def test_a_call_whose_callers_time_ends_within_an_attempt_hangs_up(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    upstream.play((Act.STALL,))
    served = await serve()
    while not upstream.requests:  # on a busy machine the time may end before a request has left
        assert (await served.fail(timeout=0.3)).code is DEADLINE_EXCEEDED
    await upstream.all_hung_up(1)


@pytest.mark.parametrize("options", [{}, {"timeout": 36_000}], ids=["gateway", "gateway before caller"])
async def test_a_call_whose_time_ends_within_an_attempt_hangs_up(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance, options: Options
) -> None:
    upstream.play((Act.STALL,))
    failing = asyncio.ensure_future((await serve(timeout="1h")).fail(**options))
    await lose_patience(upstream, advance, 1)
    assert (await failing).code is UNAVAILABLE
    await upstream.all_hung_up(1)
    assert len(upstream.requests) == 1


async def test_every_attempt_that_is_given_up_hangs_up(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance
) -> None:
    upstream.play((Act.STALL,))
    failing = asyncio.ensure_future((await serve(attempt_timeout="1h")).fail())
    await lose_patience(upstream, advance, 1, 2, 3)
    await failing
    await upstream.all_hung_up(3)


async def test_who_leaves_while_waiting_for_a_retry_sends_none(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance
) -> None:
    upstream.play(told(503, "1800"), EMPTY)
    served = await serve()
    left = served.list("left")
    await served.until(upstream_attempts_total=1)
    left.cancel()
    await served.until(calls_in_flight=0)
    advance(HOUR)
    await served.list("stayed")
    assert asked_for(upstream) == ["left", "stayed"]


async def test_a_callers_deadline_ends_the_retries(serve: Serve, upstream: ScriptedUpstream, advance: Advance) -> None:
    upstream.play(answer(503))
    served = await serve(retries=10)
    while asked_for(upstream).count("early") < 2:  # on a busy machine the time may end before the second one
        await served.fail("early", timeout=0.6)
    await served.until(calls_in_flight=0)
    asked = len(upstream.requests)
    advance(HOUR)
    upstream.play(EMPTY)
    await served.list("later")
    assert asked_for(upstream)[asked:] == ["later"]


async def test_the_gateways_own_limit_tells_the_last_real_failure(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance
) -> None:
    upstream.play(answer(503), (Act.STALL,))
    failing = asyncio.ensure_future((await serve(timeout="1h")).fail())
    await lose_patience(upstream, advance, 2)
    failure = await failing
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
    progress = Progress(lambda: deadline)
    progress.timings.attempts = 2
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


async def test_an_open_circuit_is_told_and_the_gateway_goes_on_serving(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    served = await sickened(serve, upstream)
    failure = await served.fail()
    assert (failure.code, failure.reason) == (UNAVAILABLE, "UPSTREAM_CIRCUIT_OPEN")
    assert 0 < retry_info(failure) <= breaker.FIRST_COOL_DOWN * 1.1
    assert 0 < int(str(failure.trailers["grpc-retry-pushback-ms"])) <= breaker.FIRST_COOL_DOWN * 1100
    assert "attempts" not in failure.info.metadata
    assert len(upstream.requests) == 20
    assert served.metric("upstream_circuit_open") == 1
    assert await served.ask("/readyz") == (200, "ok\nupstream circuit: open\n")
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
    endings: Any = asyncio.as_completed([served.list() for _ in range(50)])
    assert {(await failure_of(next(endings))).reason for _ in range(49)} == {"UPSTREAM_CIRCUIT_OPEN"}
    await upstream.all_arrived(21)
    assert len(upstream.requests) == 21
    assert await served.ask("/readyz") == (200, "ok\nupstream circuit: half-open\n")
    release.set()
    assert not (await next(endings)).repos
    assert served.metric("upstream_circuit_open") == 0
    await asyncio.gather(*(served.list() for _ in range(50)))
    assert len(upstream.requests) == 71


async def test_a_probe_whose_caller_leaves_makes_room_for_another(
    serve: Serve, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "FIRST_COOL_DOWN", 0.0)
    served = await sickened(serve, upstream)
    upstream.play((Act.STALL,), EMPTY)
    probe = served.list()
    await upstream.all_arrived(21)
    assert (await served.fail()).reason == "UPSTREAM_CIRCUIT_OPEN"
    probe.cancel()
    await upstream.all_hung_up(1)
    assert not (await served.list()).repos


@pytest.mark.parametrize(
    ("given", "metadata"),
    [
        pytest.param({"auth": "none"}, (), id="none"),
        pytest.param({"auth": "passthrough"}, (("x-auth-token", "callers"),), id="the caller's token"),
        pytest.param({"auth": "token", "token": "own"}, (), id="a token"),
        pytest.param({"auth": "aksk", "access_key": "name", "secret_key": "secret"}, (), id="an access key"),
    ],
)
@pytest.mark.parametrize("text", ["The token must be updated.", "token expires", "Unauthorized"])
async def test_a_credential_that_cannot_be_renewed_is_rejected_once(
    serve: Serve, upstream: ScriptedUpstream, given: Options, metadata: tuple[tuple[str, str], ...], text: str
) -> None:
    upstream.play(answer(401, json.dumps({"error_code": "APIGW.0307", "error_msg": text})))
    failure = await (await serve(**given)).fail(metadata=metadata)
    assert (failure.code, failure.message) == (grpc.StatusCode.UNAUTHENTICATED, text)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("content", ["second", "first\n"], ids=["another token", "the same token"])
async def test_a_token_file_that_changed_during_a_request_is_tried_once_more_with(
    serve: Serve, upstream: ScriptedUpstream, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "token"
    file.write_text("first", "ascii")

    def change(_: Request) -> bytes:
        file.write_text(content, "ascii")
        return answer(401)

    upstream.play((change,))
    assert (await (await serve(auth="token", token_file=file)).fail()).reason == "UPSTREAM_CREDENTIAL_REJECTED"
    told = [request.headers["x-auth-token"] for request in upstream.requests]
    assert told == (["first", "second"] if content == "second" else ["first"])


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 501])
async def test_answers_that_are_no_outage_do_not_open_the_circuit(
    serve: Serve, upstream: ScriptedUpstream, status: int
) -> None:
    upstream.play(answer(status))
    served = await serve(retries=0)
    await asyncio.gather(*(served.fail() for _ in range(60)))
    assert len(upstream.requests) == 60


async def test_callers_deadlines_do_not_open_the_circuit(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance
) -> None:
    upstream.play((Act.STALL,))
    served = await serve(retries=0)
    failing = asyncio.gather(*(served.fail(timeout=HOUR / 2) for _ in range(20)))
    await lose_patience(upstream, advance, 20)
    assert {failure.reason for failure in await failing} == {"DEADLINE_EXCEEDED"}
    upstream.play(EMPTY)
    assert not (await served.list()).repos


@pytest.mark.parametrize("given", [{}, {"coalesce": True}], ids=["each by itself", "shared"])
async def test_cancellations_do_not_open_the_circuit(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance, given: Options
) -> None:
    upstream.play((Act.STALL,))
    served = await serve(retries=0, timeout="2h", **given)
    calls = [served.list(str(number)) for number in range(20)]
    await upstream.all_arrived(20)
    advance(HOUR)
    for call in calls:
        call.cancel()
    await upstream.all_hung_up(20)
    upstream.play(EMPTY)
    assert not (await served.list()).repos


async def test_a_shared_request_is_cut_off_by_the_one_who_left_last(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance
) -> None:
    """Who began it waits as long as the gateway lets it, and leaves; who joined it has a deadline, and it passes."""
    upstream.play((Act.STALL,))
    served = await serve(retries=0, coalesce=True, timeout="1h")
    for number in range(20):
        first = served.list(str(number))
        await upstream.all_arrived(number + 1)
        second = asyncio.ensure_future(served.fail(str(number), timeout=HOUR / 2))
        await served.until(coalesced_calls_total=number + 1)
        first.cancel()
        await served.until(calls_in_flight=1)
        advance(HOUR)
        assert (await second).reason == "DEADLINE_EXCEEDED"
    upstream.play(EMPTY)
    assert not (await served.list()).repos


async def test_a_request_that_had_little_of_the_time_is_no_evidence_of_a_slow_upstream(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance
) -> None:
    """Most of the time went by in waiting for what the upstream had asked for itself."""
    told_to_wait, stalled = told(429, "2700"), (Act.STALL,)
    served = await serve(retries=1, timeout="1h")
    for number in range(20):
        upstream.play((told_to_wait,), stalled)
        failing = asyncio.ensure_future(served.fail(str(number)))
        await served.until(upstream_attempts_total=2 * number + 1)
        advance(2702)
        await upstream.all_arrived(2 * number + 2)
        advance(HOUR / 4)
        await failing
    upstream.play(EMPTY)
    assert not (await served.list()).repos


# What a failure is not


async def test_an_upstream_that_hangs_past_the_gateways_own_limit_opens_the_circuit(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance
) -> None:
    upstream.play((Act.STALL,))
    served = await serve(timeout="1h")
    failing = asyncio.gather(*(served.fail(str(number)) for number in range(20)))
    await lose_patience(upstream, advance, 20)
    assert {failure.reason for failure in await failing} == {"UPSTREAM_TIMEOUT"}
    assert (await served.fail("after")).reason == "UPSTREAM_CIRCUIT_OPEN"
    assert served.metric("upstream_attempts_total") == len(upstream.requests) == 20


async def test_a_request_that_could_not_be_sent_again_leaves_the_answer_to_the_one_before(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance
) -> None:
    release = asyncio.Event()
    served = await serve(max_in_flight=1, max_queue=0)
    upstream.play(told(503, "1800"), (release, EMPTY))
    first = asyncio.ensure_future(served.fail("first"))
    await served.until(upstream_attempts_total=1)
    second = served.list("second")
    await upstream.all_arrived(2)
    advance(HOUR)
    failure = await first
    assert (failure.reason, failure.info.metadata["attempts"]) == ("UPSTREAM_UNAVAILABLE", "1")
    assert served.metric("upstream_retries_total") == 0
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
