"""Calls that share one work: who waits, who leaves, and what each of them is told."""

from __future__ import annotations

import asyncio
import gc
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from functools import partial
from types import FrameType
from typing import Any, Self

import pytest

from gateway.core.errors import UPSTREAM_TIMEOUT, GatewayError
from gateway.core.status import UNAVAILABLE
from gateway.metrics import Metrics
from gateway.reliability.coalescing import Coalescer
from gateway.reliability.deadline import Deadline
from gateway.reliability.progress import Progress
from gateway.reliability.timings import Timings
from patience import AGES, HOUR, Advance

KEY = ("identity", "target")


@pytest.fixture
async def coalescer() -> AsyncIterator[Coalescer[str]]:
    """What shares the work; in the end nothing is left in it, and nothing was said to the event loop."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    coalescer: Coalescer[str] = Coalescer(Metrics())
    yield coalescer
    await let_all_run()
    assert coalescer._flights == {}
    gc.collect()
    await let_all_run()
    assert complaints == []


class Work:
    """Work that ends when it is released: with a page, or with an error.

    Attributes:
        begun: How often.
        cancelled: How often it was.
        progress: Of the last one that was begun.
    """

    def __init__(
        self, error: Exception | None = None, result: str = "page", doing: Mapping[str, Any] | None = None
    ) -> None:
        self.release = asyncio.Event()
        self.begun = self.cancelled = 0
        self.progress = Progress(lambda: Deadline(0.0, by_caller=True))
        self._error = error
        self._result = result
        self._doing = doing or {}

    async def __call__(self, progress: Progress) -> str:
        self.begun += 1
        self.progress = progress
        for name, value in self._doing.items():
            setattr(progress.timings if hasattr(progress.timings, name) else progress, name, value)
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self._error:
            raise self._error
        return self._result


def in_time(seconds: float = AGES, *, by_caller: bool = True) -> Deadline:
    return Deadline(asyncio.get_running_loop().time() + seconds, by_caller)


async def let_all_run() -> None:
    """Let every task run until it waits, and those that it woke."""
    for _ in range(5):
        await asyncio.sleep(0)


async def begin(*calls: Coroutine[Any, Any, str]) -> list[asyncio.Task[str]]:
    tasks = [asyncio.create_task(call) for call in calls]
    await let_all_run()
    return tasks


async def outcomes(tasks: list[asyncio.Task[str]]) -> list[str]:
    """Return results, and what errors are called."""
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    return [end.args[0] if isinstance(end, Exception) else str(end) for end in ended]


def failure() -> GatewayError:
    return GatewayError(UNAVAILABLE, message="busy", http_status=503, upstream_code="code", retry_delay=7.0)


async def test_all_who_ask_for_the_same_get_what_was_worked_once(coalescer: Coalescer[str]) -> None:
    work = Work()
    calls = await begin(*(coalescer.run(KEY, work, in_time()) for _ in range(50)))
    work.release.set()
    assert await outcomes(calls) == ["page"] * 50
    assert work.begun == 1
    assert coalescer._metrics.registry.get_sample_value("swr_gateway_coalesced_calls_total") == 49


async def test_who_asks_for_something_else_shares_nothing(coalescer: Coalescer[str]) -> None:
    first, second = Work(result="first"), Work(result="second")
    calls = await begin(coalescer.run(1, first, in_time()), coalescer.run(2, second, in_time()))
    for work in (first, second):
        work.release.set()
    assert await outcomes(calls) == ["first", "second"]


async def test_who_asks_after_the_end_begins_anew(coalescer: Coalescer[str]) -> None:
    work = Work()
    work.release.set()
    for _ in range(3):
        assert await coalescer.run(KEY, work, in_time()) == "page"
    assert work.begun == 3


async def test_who_asks_between_the_end_and_the_news_of_it_begins_anew(coalescer: Coalescer[str]) -> None:
    late: list[asyncio.Task[str]] = []
    begun = 0

    async def work(_: Progress) -> str:
        nonlocal begun
        begun += 1
        if begun == 1:
            # A call that takes its first step behind the end of this work, and ahead of who waits for it.
            ask = partial(coalescer.run, KEY, work, in_time())
            asyncio.get_running_loop().call_soon(lambda: late.append(asyncio.create_task(ask())))
        return f"page {begun}"

    assert await coalescer.run(KEY, work, in_time()) == "page 1"
    await let_all_run()
    assert late[0].done()
    assert await late[0] == "page 2"


async def test_each_who_shares_is_told_what_the_work_took(coalescer: Coalescer[str]) -> None:
    work, timings = Work(doing={"attempts": 3, "status": 200}), [Timings(), Timings()]
    calls = await begin(*(coalescer.run(KEY, work, in_time(), one) for one in timings))
    work.release.set()
    await outcomes(calls)
    assert [(one.attempts, one.status) for one in timings] == [(3, 200)] * 2


async def test_work_that_is_cut_off_knows_the_deadline_of_the_last_who_left(coalescer: Coalescer[str]) -> None:
    known: list[Deadline] = []

    async def work(progress: Progress) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            known.append(progress.deadline())
        raise AssertionError

    deadlines = [in_time(300.0), in_time(100.0, by_caller=False)]
    for call in await begin(*(coalescer.run(KEY, work, deadline) for deadline in deadlines)):
        call.cancel()
        await let_all_run()
    assert known == deadlines[1:]


@pytest.mark.parametrize(
    ("by_caller", "failed", "reason"),
    [
        pytest.param(True, None, "DEADLINE_EXCEEDED", id="the caller's"),
        pytest.param(True, failure(), "DEADLINE_EXCEEDED", id="the caller's, after a failure"),
        pytest.param(False, None, "UPSTREAM_TIMEOUT", id="the settings'"),
        pytest.param(False, failure(), "UPSTREAM_UNAVAILABLE", id="the settings', after a failure"),
    ],
)
@pytest.mark.parametrize("short_first", [True, False], ids=["the first leaves", "a later one leaves"])
async def test_each_leaves_at_its_own_deadline_and_the_others_stay(
    coalescer: Coalescer[str],
    advance: Advance,
    short_first: bool,
    by_caller: bool,
    failed: GatewayError | None,
    reason: str,
) -> None:
    work = Work(
        doing={"waiting_for": UPSTREAM_TIMEOUT, "phase": "headers", "attempts": 3, "failure": failed},
    )
    short = coalescer.run(KEY, work, in_time(HOUR, by_caller=by_caller))
    long = coalescer.run(KEY, work, in_time())
    calls = await begin(*((short, long) if short_first else (long, short)))
    leaver, stayer = calls if short_first else reversed(calls)
    advance(HOUR)
    with pytest.raises(GatewayError) as left:
        await leaver
    assert (left.value.cause.reason, left.value.attempts) == (reason, 3)
    assert left.value is not failed
    assert left.value.phase == ("headers" if reason != "UPSTREAM_UNAVAILABLE" else "")
    assert not stayer.done()
    work.release.set()
    assert await stayer == "page"
    assert (work.begun, work.cancelled) == (1, 0)


async def test_when_all_times_are_over_the_work_is_cancelled(coalescer: Coalescer[str], advance: Advance) -> None:
    work = Work()
    calls = await begin(*(coalescer.run(KEY, work, in_time(HOUR)) for _ in range(5)))
    advance(HOUR)
    assert set(await outcomes(calls)) == {"DEADLINE_EXCEEDED"}
    await let_all_run()
    assert (work.begun, work.cancelled) == (1, 1)


async def test_who_comes_with_no_time_left_leaves_nothing_behind(coalescer: Coalescer[str]) -> None:
    with pytest.raises(GatewayError, match="DEADLINE_EXCEEDED"):
        await coalescer.run(KEY, Work(), in_time(-1.0))


async def test_the_work_knows_when_the_last_of_its_waiters_would_leave(coalescer: Coalescer[str]) -> None:
    work = Work()
    deadlines = [in_time(seconds) for seconds in (100.0, 50.0, 300.0, 200.0)]
    calls = await begin(coalescer.run(KEY, work, deadlines[0]))
    for deadline, longest in zip(deadlines[1:], (0, 2, 2), strict=True):
        calls += await begin(coalescer.run(KEY, work, deadline))
        assert work.progress.deadline() == deadlines[longest]
    calls.pop(2).cancel()
    await let_all_run()
    assert work.progress.deadline() == deadlines[3]
    work.release.set()
    assert await outcomes(calls) == ["page"] * 3


async def test_a_pause_answers_at_once_those_who_would_not_see_its_end(coalescer: Coalescer[str]) -> None:
    error, work = failure(), Work(doing={"attempts": 2})
    deadlines = [in_time(seconds, by_caller=seconds < 200.0) for seconds in (300.0, 100.0, 200.0)]
    stayer, *leavers = await begin(*(coalescer.run(KEY, work, deadline) for deadline in deadlines))
    for _ in range(2):
        work.progress.pause(deadlines[2].at, error)
    await let_all_run()
    assert not stayer.done()
    for leaver in leavers:
        told = leaver.exception()
        assert isinstance(told, GatewayError)
        assert told is not error
        assert vars(told) == {**vars(error), "attempts": 2}
    work.release.set()
    assert await stayer == "page"
    assert (work.begun, work.cancelled) == (1, 0)


async def test_who_joins_in_a_pause_and_would_not_see_its_end_is_answered_at_once(coalescer: Coalescer[str]) -> None:
    error, work = failure(), Work(doing={"attempts": 2})
    calls = await begin(coalescer.run(KEY, work, in_time(300.0)))
    end = in_time(200.0).at
    work.progress.pause(end, error)
    early = await begin(
        coalescer.run(KEY, work, Deadline(end, by_caller=True)),
        coalescer.run(KEY, work, in_time(by_caller=False, seconds=9.0)),
    )
    for call in early:
        told = call.exception()
        assert isinstance(told, GatewayError)
        assert told is not error
        assert vars(told) == {**vars(error), "attempts": 2}
    calls += await begin(coalescer.run(KEY, work, Deadline(end + 1.0, by_caller=True)))
    assert not any(call.done() for call in calls)
    work.release.set()
    assert await outcomes(calls) == ["page"] * 2
    assert (work.begun, work.cancelled) == (1, 0)


async def test_a_pause_that_is_over_concerns_nobody_who_joins(coalescer: Coalescer[str]) -> None:
    work = Work()
    calls = await begin(coalescer.run(KEY, work, in_time()))
    work.progress.pause(in_time(-0.001).at, failure())
    calls += await begin(coalescer.run(KEY, work, in_time()))
    work.release.set()
    assert await outcomes(calls) == ["page"] * 2


async def test_a_pause_whose_end_nobody_would_see_ends_the_work(coalescer: Coalescer[str]) -> None:
    work = Work()
    calls = await begin(*(coalescer.run(KEY, work, in_time(seconds)) for seconds in (100.0, 200.0)))
    work.progress.pause(in_time(300.0).at, failure())
    assert await outcomes(calls) == ["UPSTREAM_UNAVAILABLE"] * 2
    await let_all_run()
    assert (work.begun, work.cancelled) == (1, 1)


@pytest.mark.parametrize("leaver", [0, 1, 2], ids=["the one who began", "another", "the last"])
async def test_the_end_of_one_caller_is_not_that_of_others(coalescer: Coalescer[str], leaver: int) -> None:
    work = Work()
    calls = await begin(*(coalescer.run(KEY, work, in_time()) for _ in range(3)))
    calls.pop(leaver).cancel()
    await let_all_run()
    calls += await begin(coalescer.run(KEY, work, in_time()))
    work.release.set()
    assert await outcomes(calls) == ["page"] * 3
    assert (work.begun, work.cancelled) == (1, 0)


async def test_the_work_is_cancelled_when_the_last_has_left_and_not_before(coalescer: Coalescer[str]) -> None:
    work = Work()
    calls = await begin(*(coalescer.run(KEY, work, in_time()) for _ in range(3)))
    for number, call in enumerate(calls):
        assert work.cancelled == 0, number
        call.cancel()
        await let_all_run()
    assert work.cancelled == 1


async def test_who_comes_while_cancelled_work_winds_down_begins_anew_and_shares_that(coalescer: Coalescer[str]) -> None:
    wound_down = asyncio.Event()

    async def stubborn(_: Progress) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await wound_down.wait()
        return "of nobody"

    (gone,) = await begin(coalescer.run(KEY, stubborn, in_time()))
    gone.cancel()
    await let_all_run()
    work = Work()
    calls = await begin(coalescer.run(KEY, work, in_time()))
    wound_down.set()
    await let_all_run()
    calls += await begin(coalescer.run(KEY, work, in_time()))
    work.release.set()
    assert await outcomes(calls) == ["page"] * 2
    assert work.begun == 1


async def test_an_error_is_a_copy_for_each_with_all_that_it_says(coalescer: Coalescer[str]) -> None:
    error = failure()
    work = Work(error, doing={"attempts": 2})
    calls = await begin(*(coalescer.run(KEY, work, in_time()) for _ in range(50)))
    work.release.set()
    told = await asyncio.gather(*calls, return_exceptions=True)
    assert len({id(one) for one in told}) == 50
    for one in told:
        assert isinstance(one, GatewayError)
        assert one is not error
        assert vars(one) == {**vars(error), "attempts": 2}


async def test_tracebacks_do_not_grow_with_those_who_wait(coalescer: Coalescer[str]) -> None:
    depths = []
    for count in (1, 50):
        work = Work(failure())
        calls = await begin(*(coalescer.run(KEY, work, in_time()) for _ in range(count)))
        work.release.set()
        told = await asyncio.gather(*calls, return_exceptions=True)
        depths.append({len(traceback.extract_tb(one.__traceback__)) for one in told if isinstance(one, Exception)})
    assert depths[0] == depths[1]
    assert len(depths[0]) == 1


async def has_a_bug(_: Progress) -> str:
    raise RuntimeError("a bug")


async def raises_a_cancellation(_: Progress) -> str:
    raise asyncio.CancelledError


async def is_cancelled_by_another(_: Progress) -> str:
    task = asyncio.current_task()
    assert task
    task.cancel()
    await asyncio.Event().wait()
    return "never"


@pytest.mark.parametrize(
    ("work", "bug"),
    [
        (has_a_bug, "a bug"),
        (raises_a_cancellation, "coalesced work was cancelled"),
        (is_cancelled_by_another, "coalesced work was cancelled"),
    ],
)
async def test_a_bug_is_reported_by_one_and_the_others_are_told_of_an_internal_error(
    coalescer: Coalescer[str], work: Callable[[Progress], Coroutine[Any, Any, str]], bug: str
) -> None:
    calls = [asyncio.create_task(coalescer.run(KEY, work, in_time())) for _ in range(5)]
    told = await asyncio.gather(*calls, return_exceptions=True)
    (reported,) = (one for one in told if isinstance(one, RuntimeError))
    assert reported.args == (bug,)
    others = [one.cause.reason for one in told if isinstance(one, GatewayError)]
    assert others == ["GATEWAY_INTERNAL"] * 4


@pytest.mark.parametrize("error", [failure(), RuntimeError("a bug")], ids=["an error", "a bug"])
async def test_who_leaves_in_the_moment_of_the_failure_takes_it_along_silently(
    coalescer: Coalescer[str], error: Exception
) -> None:
    calls: list[asyncio.Task[str]] = []

    async def work(_: Progress) -> str:
        task = asyncio.current_task()
        assert task
        # Behind what tells those who wait, and before they run.
        task.add_done_callback(lambda _: [call.cancel() for call in calls])
        await release.wait()
        raise error

    release = asyncio.Event()
    calls += await begin(*(coalescer.run(KEY, work, in_time()) for _ in range(3)))
    release.set()
    await asyncio.wait(calls)
    assert all(call.cancelled() for call in calls)
    calls.clear()


@pytest.mark.parametrize(("error", "logged"), [(failure(), 0), (RuntimeError("a bug"), 1)], ids=["an error", "a bug"])
async def test_of_failures_that_nobody_waits_for_any_more_bugs_are_logged(
    coalescer: Coalescer[str], error: Exception, logged: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(_: Progress) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            raise error

    (call,) = await begin(coalescer.run(KEY, work, in_time()))
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    await let_all_run()
    assert [record.exc_info and record.exc_info[1] for record in caplog.records] == [error] * logged
    assert caplog.messages == ["coalesced work failed that nobody waited for"] * logged


class Lines:
    """Counts the lines of Python that are run, where seconds would tell of the machine as well."""

    def __init__(self) -> None:
        self.run = 0

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, _: FrameType, event: str, __: object) -> Any:
        self.run += event == "line"
        return self._trace


@pytest.mark.parametrize("ending", ["a page", "an error", "all leave"])
async def test_many_who_wait_cost_no_more_each_than_few(coalescer: Coalescer[str], ending: str) -> None:
    async def cost(count: int) -> int:
        work = Work(failure() if ending == "an error" else None)
        calls = await begin(*(coalescer.run(KEY, work, in_time()) for _ in range(count)))
        with Lines() as lines:
            if ending == "all leave":
                for call in calls:
                    call.cancel()
            work.release.set()
            told = await asyncio.gather(*calls, return_exceptions=True)
        assert (told.count("page") == count) == (ending == "a page")
        return lines.run

    few, many = [await cost(count) for count in (100, 1000)]
    assert many < few * 10 * 1.1
