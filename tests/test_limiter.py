"""Permits for the upstream: so many at once, so many calls that wait, nobody for long, and none is ever lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from hypothesis import given
from hypothesis import strategies as st

from conftest import Serve
from failures import failure_of
from gateway.core.errors import GatewayError
from gateway.reliability.limiter import ConcurrencyLimiter, Permit
from gateway.swr.v1 import repos_pb2
from patience import AGES, HOUR, Advance
from scripted_upstream import Act, Request, Script, ScriptedUpstream, answer, page

REQUEST = repos_pb2.ListReposRequest()


async def let_all_run() -> None:
    """Let every task run until it waits."""
    await asyncio.sleep(0)


async def exhausted(limit: int, max_queue: int, queue_timeout: float = AGES) -> ConcurrencyLimiter:
    """Return a limiter whose permits are all held."""
    limiter = ConcurrencyLimiter(limit, max_queue, queue_timeout)
    for _ in range(limit):
        await limiter.acquire()
    return limiter


async def queue_up(limiter: ConcurrencyLimiter, count: int) -> list[asyncio.Task[Permit]]:
    queued = [asyncio.create_task(limiter.acquire()) for _ in range(count)]
    await let_all_run()
    return queued


def assert_refused(limiter: ConcurrencyLimiter) -> None:
    """Assert that one who asks now is refused without a wait: a coroutine that waits would not raise in here."""
    with pytest.raises(GatewayError) as refused:
        limiter.acquire().send(None)
    assert (refused.value.cause.reason, refused.value.phase) == ("GATEWAY_OVERLOADED", "queue")


async def assert_free(limiter: ConcurrencyLimiter, limit: int) -> None:
    assert (limiter.in_use, limiter.queued) == (0, 0)
    for _ in range(limit):
        await limiter.acquire()
    assert limiter.in_use == limit


async def test_so_many_at_once_so_many_who_wait_and_the_next_one_is_refused_at_once() -> None:
    limiter = await exhausted(3, max_queue=2)
    queued = await queue_up(limiter, 2)
    assert (limiter.in_use, limiter.queued) == (3, 2)
    assert_refused(limiter)
    assert not any(waiter.done() for waiter in queued)
    limiter.release()
    await queued[0]
    assert (limiter.in_use, limiter.queued, queued[1].done()) == (3, 1, False)
    queued[1].cancel()


async def test_where_nobody_may_wait_nobody_waits() -> None:
    limiter = await exhausted(1, max_queue=0)
    assert_refused(limiter)
    limiter.release()
    await assert_free(limiter, 1)
    assert_refused(limiter)


async def test_permits_come_in_the_order_in_which_they_were_asked_for() -> None:
    limiter, order = await exhausted(1, max_queue=20), list[int]()

    async def call(number: int) -> None:
        await limiter.acquire()
        order.append(number)
        limiter.release()

    calls = [asyncio.create_task(call(number)) for number in range(20)]
    await let_all_run()
    limiter.release()
    await asyncio.gather(*calls)
    assert order == list(range(20))
    await assert_free(limiter, 1)


async def test_who_asks_in_the_moment_of_a_hand_over_does_not_get_ahead_of_who_waits() -> None:
    limiter = await exhausted(1, max_queue=1)
    (waiter,) = await queue_up(limiter, 1)
    limiter.release()
    late = asyncio.create_task(limiter.acquire())
    await waiter
    await let_all_run()
    assert not late.done()
    late.cancel()


async def test_who_has_waited_too_long_is_refused_and_leaves_the_queue() -> None:
    limiter = await exhausted(1, max_queue=1, queue_timeout=0.01)
    with pytest.raises(GatewayError) as refused:
        await limiter.acquire()
    assert (refused.value.cause.reason, refused.value.phase) == ("GATEWAY_OVERLOADED", "queue")
    assert (limiter.in_use, limiter.queued) == (1, 0)
    limiter.release()
    await assert_free(limiter, 1)


async def test_who_is_cancelled_leaves_the_place_to_another() -> None:
    limiter = await exhausted(1, max_queue=2)
    first, second = await queue_up(limiter, 2)
    first.cancel()
    await let_all_run()
    assert limiter.queued == 1
    (third,) = await queue_up(limiter, 1)
    limiter.release()
    await second
    limiter.release()
    await third
    limiter.release()
    await assert_free(limiter, 1)


@pytest.mark.parametrize("granted_first", [True, False], ids=["just before", "just after"])
async def test_a_permit_granted_in_the_moment_of_the_cancellation_goes_to_the_next(granted_first: bool) -> None:
    limiter = await exhausted(1, max_queue=2)
    first, second = await queue_up(limiter, 2)
    if granted_first:
        limiter.release()
    first.cancel()
    if not granted_first:
        limiter.release()
    await second
    assert first.cancelled()
    limiter.release()
    await assert_free(limiter, 1)


async def test_a_permit_granted_in_the_moment_of_the_refusal_is_taken() -> None:
    limiter = await exhausted(1, max_queue=1, queue_timeout=0.0)  # the time is over at the next turn of the loop
    (waiter,) = await queue_up(limiter, 1)
    limiter.release()
    (await waiter).release()
    await assert_free(limiter, 1)


@pytest.mark.parametrize("cancelled", [False, True], ids=["who hears of it", "who is cut off in that moment"])
async def test_who_gives_way_to_another_tenant_is_refused_and_costs_no_permit(cancelled: bool) -> None:
    limiter = await exhausted(1, max_queue=2)
    first, second = await queue_up(limiter, 2)
    other = asyncio.create_task(limiter.acquire(b"other"))
    await let_all_run()
    if cancelled:
        second.cancel()
    with pytest.raises((GatewayError, asyncio.CancelledError)):
        await second
    assert limiter.queued == 2
    limiter.release()
    (await other).release()
    (await first).release()
    await assert_free(limiter, 1)


async def test_who_gives_way_just_after_it_was_cut_off_is_not_refused_as_well() -> None:
    limiter = await exhausted(1, max_queue=2)
    first, second = await queue_up(limiter, 2)
    other = asyncio.create_task(limiter.acquire(b"other"))
    second.cancel()  # and it leaves behind the other one, which comes first
    await asyncio.wait([second])
    assert second.cancelled()
    limiter.release()
    (await other).release()
    (await first).release()
    await assert_free(limiter, 1)


async def test_a_tenant_without_its_share_waits_on_when_others_would_be_refused() -> None:
    limiter = await exhausted(2, max_queue=9, queue_timeout=0.0)
    owed = asyncio.create_task(limiter.acquire(b"other"))
    (refused,) = await queue_up(limiter, 1)
    await asyncio.wait([refused])
    assert isinstance(refused.exception(), GatewayError)
    assert not owed.done()
    limiter.release()
    (await owed).release()
    limiter.release()
    await assert_free(limiter, 2)


async def test_a_spare_permit_is_one_that_nobody_wants() -> None:
    limiter = await exhausted(1, max_queue=1)
    assert limiter.try_acquire() is None
    (waiter,) = await queue_up(limiter, 1)
    limiter.release()
    assert limiter.try_acquire() is None
    await waiter
    limiter.release()
    assert limiter.try_acquire() is not None
    assert (limiter.in_use, limiter.try_acquire()) == (1, None)


async def test_a_permit_that_is_released_twice_is_released_once() -> None:
    limiter = ConcurrencyLimiter(2, 0, AGES)
    spare = limiter.try_acquire()
    assert spare is not None
    await limiter.acquire()
    for _ in range(2):
        spare.release()
        assert (limiter.in_use, spare.is_held) == (1, False)
    limiter.release()
    await assert_free(limiter, 2)


@given(
    limit=st.integers(1, 3),
    max_queue=st.integers(0, 5),
    steps=st.lists(st.tuples(st.sampled_from(["come", "release", "cancel", "run"]), st.integers(0, 30)), max_size=40),
)
def test_permits_are_conserved_whoever_comes_ends_or_is_cancelled(
    limit: int, max_queue: int, steps: list[tuple[str, int]]
) -> None:
    async def play() -> None:
        limiter, callers, released = ConcurrencyLimiter(limit, max_queue, AGES), list[asyncio.Task[Permit]](), 0

        def holders() -> int:
            ended = [caller for caller in callers if caller.done() and not caller.cancelled()]
            return sum(caller.exception() is None for caller in ended) - released

        all_come, all_end = [("come", 0)] * (limit + max_queue), [("release", 0), ("run", 0)] * 50
        for step, number in [*all_come, ("run", 0), *steps, *all_end]:
            match step:
                case "come":
                    callers.append(asyncio.create_task(limiter.acquire()))
                case "release" if holders():
                    limiter.release()
                    released += 1
                case "cancel" if callers:
                    callers[number % len(callers)].cancel()
                case "run":
                    await let_all_run()
            assert holders() <= limiter.in_use <= limit
            assert limiter.queued <= max_queue
        assert all(caller.done() for caller in callers)
        await assert_free(limiter, limit)

    asyncio.run(play())


# On sockets.


async def test_one_too_many_is_told_when_to_come_again_and_does_not_go_upstream(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    release = asyncio.Event()
    upstream.play((release, page("[]")))
    served = await serve(max_in_flight=1, max_queue=1)
    calls = [served.stub.ListRepos(REQUEST), served.stub.ListRepos(REQUEST)]
    await served.until(upstream_in_flight=1, upstream_queue=1)
    failure = await failure_of(served.stub.ListRepos(REQUEST))
    assert len(upstream.requests) == 1
    release.set()
    assert [await call for call in calls] == [repos_pb2.ListReposResponse()] * 2
    await served.drain()
    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "GATEWAY_OVERLOADED")
    assert dict(failure.info.metadata) == {"phase": "queue"}
    assert failure.trailers["grpc-retry-pushback-ms"] == "-1"
    retry, quota = failure.details["RetryInfo"], failure.details["QuotaFailure"]
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert isinstance(quota, error_details_pb2.QuotaFailure)
    assert retry.retry_delay.seconds == 1
    assert [violation.subject for violation in quota.violations] == ["gateway"]
    assert len(upstream.requests) == 2


async def test_who_waits_too_long_is_refused_while_the_others_go_on(serve: Serve, upstream: ScriptedUpstream) -> None:
    release = asyncio.Event()
    upstream.play((release, page("[]")))
    served = await serve(max_in_flight=1, queue_timeout="50ms")
    first = served.stub.ListRepos(REQUEST)
    await upstream.all_arrived(1)
    failures = await asyncio.gather(*(failure_of(served.stub.ListRepos(REQUEST)) for _ in range(5)))
    assert {failure.reason for failure in failures} == {"GATEWAY_OVERLOADED"}
    release.set()
    assert await first == repos_pb2.ListReposResponse()
    await served.drain()
    assert len(upstream.requests) == 1


async def test_who_waits_for_a_permit_waits_within_its_deadline_and_blames_nobody_else(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance
) -> None:
    upstream.play((Act.STALL,))
    served = await serve(max_in_flight=1, timeout="1h")
    in_flight = served.stub.ListRepos(REQUEST)
    await upstream.all_arrived(1)
    waiting = served.stub.ListRepos(REQUEST)
    await served.until(upstream_queue=1)
    advance(HOUR)
    assert (await failure_of(in_flight)).reason == "UPSTREAM_TIMEOUT"
    overloaded = await failure_of(waiting)
    assert (overloaded.code, overloaded.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "GATEWAY_OVERLOADED")
    assert overloaded.info.metadata["phase"] == "queue"
    assert "gateway" in str(overloaded.details["QuotaFailure"])


async def test_an_attempts_time_begins_with_its_permit(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance
) -> None:
    release = asyncio.Event()
    upstream.play((Act.STALL,), (release, page("[]")))
    served = await serve(max_in_flight=1, attempt_timeout="1h")
    first = served.stub.ListRepos(REQUEST)
    await upstream.all_arrived(1)
    second = served.stub.ListRepos(REQUEST)
    await served.until(upstream_queue=1)
    advance(HOUR)
    assert (await failure_of(first)).reason == "UPSTREAM_TIMEOUT"
    await upstream.all_arrived(2)
    advance(HOUR / 2)
    release.set()
    assert await second == repos_pb2.ListReposResponse()


async def test_health_is_told_while_everything_is_full(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play((Act.STALL,))
    served = await serve(max_in_flight=1, max_queue=1)
    calls = [served.stub.ListRepos(REQUEST), served.stub.ListRepos(REQUEST)]
    await served.until(upstream_in_flight=1, upstream_queue=1)
    reply = await served.health.Check(health_pb2.HealthCheckRequest())
    assert reply.status == health_pb2.HealthCheckResponse.SERVING
    assert not any(call.done() for call in calls)


async def test_metrics_say_who_is_in_flight_and_who_waits_and_return_to_nothing(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    release = asyncio.Event()
    upstream.play((release, page("[]")))
    served = await serve(max_in_flight=2)
    await served.until(upstream_in_flight=0, upstream_queue=0)
    calls = [served.stub.ListRepos(REQUEST) for _ in range(5)]
    await served.until(upstream_in_flight=2, upstream_queue=3)
    release.set()
    await asyncio.gather(*calls)
    await served.until(upstream_in_flight=0, upstream_queue=0)


async def test_after_a_thousand_cancelled_calls_a_good_one_has_its_permit(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    upstream.play((Act.STALL,))
    served = await serve(max_in_flight=3, max_queue=1000)
    calls = [served.stub.ListRepos(REQUEST) for _ in range(500)]
    await served.until(upstream_in_flight=3, upstream_queue=497)
    for call in calls:
        call.cancel()
    for _ in range(500):
        served.stub.ListRepos(REQUEST).cancel()
    await served.until(upstream_in_flight=0, upstream_queue=0)
    upstream.play(page('[{"name":"good"}]'))
    assert (await served.stub.ListRepos(REQUEST)).repos[0].name == "good"


# Streams, which fetch pages ahead.


def list_of(count: int, *, cuts: Mapping[int, int]) -> Callable[[Request], bytes]:
    """Return what answers pages of a list; a page at one of some offsets is cut."""

    def reply(request: Request) -> bytes:
        offset, limit = int(request.clause("offset")), int(request.clause("limit"))
        rows = [{"name": f"r-{number}"} for number in range(count)][offset : offset + limit][: cuts.get(offset)]
        return page(json.dumps(rows), {"Content-Range": f"{offset}-{len(rows)}/{count}"})

    return reply


@pytest.mark.parametrize("cuts", [{}, {20: 5}, {0: 1, 5: 2}], ids=["whole pages", "a short page", "short pages"])
@pytest.mark.parametrize("max_queue", [0, 200])
@pytest.mark.parametrize("max_in_flight", [1, 3, 100])
@pytest.mark.parametrize("auth", ["none", "passthrough"])
async def test_a_lone_stream_waits_for_no_permit_and_so_never_too_long(
    serve: Serve, upstream: ScriptedUpstream, auth: str, max_in_flight: int, max_queue: int, cuts: dict[int, int]
) -> None:
    upstream.play((list_of(95, cuts=cuts),))
    limits = {"max_in_flight": max_in_flight, "max_queue": max_queue, "queue_timeout": "0.000001ms"}
    served = await serve(auth=auth, **limits)
    # Some permits are kept for callers with other tokens.
    call = served.stub.StreamRepos(repos_pb2.StreamReposRequest(page_size=10), metadata=(("x-auth-token", "t"),))
    assert [repo.name async for message in call for repo in message.repos] == [f"r-{at}" for at in range(95)]
    await served.until(upstream_in_flight=0, upstream_queue=0)


async def test_pages_ahead_do_not_queue_in_front_of_other_callers(serve: Serve, upstream: ScriptedUpstream) -> None:
    release, answers = asyncio.Event(), list_of(50, cuts={})
    upstream.play((answers,), (release, answers), (page("[]"),), (answers,))
    served = await serve(max_in_flight=1)
    stream = aiter(served.stub.StreamRepos(repos_pb2.StreamReposRequest(page_size=10)))
    first = await anext(stream)
    await served.until(upstream_in_flight=1, upstream_queue=0)
    other = served.stub.ListRepos(REQUEST)
    await served.until(upstream_in_flight=1, upstream_queue=1)
    release.set()
    assert await other == repos_pb2.ListReposResponse()
    rest = [repo.name async for message in stream for repo in message.repos]
    assert [repo.name for repo in first.repos] + rest == [f"r-{at}" for at in range(50)]
    await served.drain()
    assert ["offset" in request.target for request in upstream.requests] == [True, True, False, True, True, True]


async def test_the_page_that_a_stream_needs_waits_its_turn_like_any_other_call(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    release = asyncio.Event()
    upstream.play((release, page("[]")), (list_of(5, cuts={}),))
    served = await serve(max_in_flight=1, max_queue=1)
    other = served.stub.ListRepos(REQUEST)
    await served.until(upstream_in_flight=1, upstream_queue=0)
    stream = served.stub.StreamRepos(repos_pb2.StreamReposRequest())
    await served.until(upstream_in_flight=1, upstream_queue=1)
    assert (await failure_of(served.stub.ListRepos(REQUEST))).reason == "GATEWAY_OVERLOADED"
    release.set()
    await other
    assert sum([len(message.repos) async for message in stream]) == 5


async def test_a_page_ahead_whose_first_request_fails_queues_for_its_second(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    answers = list_of(30, cuts={})
    upstream.play((answers,), answer(503), (answers,))
    served = await serve(max_in_flight=1, retries=1)
    stream = served.stub.StreamRepos(repos_pb2.StreamReposRequest(page_size=10))
    assert sum([len(message.repos) async for message in stream]) == 30
    await served.until(upstream_in_flight=0, upstream_queue=0)
    await served.drain()
    assert len(upstream.requests) == 4


async def test_pages_ahead_do_not_take_the_permit_of_one_that_is_asked_for_again(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance
) -> None:
    answers, second_comes, third_is_there = list_of(95, cuts={}), asyncio.Event(), asyncio.Event()
    refusals = [answer(503, headers={"Retry-After": "1800"})]

    def third(request: Request) -> bytes:
        if refusals:
            return refusals.pop()
        third_is_there.set()
        return answers(request)

    scripts: dict[str, Script] = {"0": (answers,), "10": (second_comes, answers), "20": (third,)}
    upstream.choose = lambda request: scripts.get(request.clause("offset"), (third_is_there, answers))
    served = await serve(auth="passthrough", max_in_flight=3, max_queue=0, retries=1, write_timeout="1000h")
    request = repos_pb2.StreamReposRequest(page_size=10)
    stream = aiter(served.stub.StreamRepos(request, metadata=(("x-auth-token", "t"),)))
    names = [repo.name for repo in (await anext(stream)).repos]
    await served.until(upstream_in_flight=1)
    second_comes.set()
    names += [repo.name for repo in (await anext(stream)).repos]
    advance(HOUR)
    names += [repo.name async for message in stream for repo in message.repos]
    assert names == [f"r-{at}" for at in range(95)]
