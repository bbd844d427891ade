"""When a request that failed is sent again: cause by cause, and within its retries, its time and the budget."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core import errors, retry, status
from gateway.core.errors import GATEWAY_INTERNAL, UPSTREAM_TIMEOUT, UPSTREAM_TLS_FAILED, Cause, GatewayError
from gateway.core.retry import (
    FIRST_BACKOFF,
    LAST_BACKOFF,
    MIN_TIME,
    CommonRetryBudget,
    RetryBudget,
    backoff,
    delay_before_retry,
    take_from_both,
)
from gateway.core.status import CLIENT_ERROR_CODES, RATE_LIMITED, SERVER_ERROR_CODES, UNAVAILABLE, find_cause

NEVER, ONCE, FREELY, IF_RETRY_AFTER = "never", "once", "freely", "if told"
HOUR = 3600.0
TOLD = 7.5

# What has no HTTP status.
WITHOUT_STATUS = {
    "INVALID_REQUEST": NEVER,
    "UNREADABLE_REQUEST": NEVER,
    "REQUEST_MISSING": NEVER,
    "REQUEST_TIMEOUT": NEVER,
    "SLOW_READER": NEVER,
    "CREDENTIAL_MISSING": NEVER,
    "CALLER_NOT_ALLOWED": NEVER,
    "DEADLINE_EXCEEDED": NEVER,
    "CALL_CANCELLED": NEVER,
    "GATEWAY_INTERNAL": NEVER,
    "GATEWAY_DRAINING": NEVER,
    "GATEWAY_OVERLOADED": NEVER,
    "CREDENTIAL_UNAVAILABLE": NEVER,
    "UPSTREAM_UNREACHABLE": FREELY,
    "UPSTREAM_CIRCUIT_OPEN": NEVER,
    "UPSTREAM_TLS_UNTRUSTED": NEVER,
    "UPSTREAM_TLS_FAILED": ONCE,
    "UPSTREAM_CONNECTION_LOST": FREELY,
    "UPSTREAM_TIMEOUT": FREELY,
    "UPSTREAM_PROTOCOL": NEVER,
    "UPSTREAM_RESPONSE_TOO_LARGE": NEVER,
    "UPSTREAM_NO_PROGRESS": NEVER,
    "UPSTREAM_MALFORMED_RESPONSE": NEVER,
}

# Later lines refine earlier ones.
STATUSES = {
    **dict.fromkeys((99, *range(100, 200), 600, 999), NEVER),
    **dict.fromkeys((*range(201, 206), *range(207, 500)), NEVER),
    **dict.fromkeys((408, 423, 425, 499), FREELY),
    429: IF_RETRY_AFTER,
    **dict.fromkeys(range(500, 600), ONCE),
    **dict.fromkeys((501, 505, 506, 507, 508, 510, 511), NEVER),
    **dict.fromkeys((502, 503), FREELY),
}

# Codes of an answer's body that are sent again. All others are not.
CODES = {
    "SVCSTG.SWR.4090023": FREELY,
    "SVCSTG.SWR.4031033": FREELY,
    "SVCSTG.SWR.5001076": FREELY,
    "SVCSTG.SWR.4031032": IF_RETRY_AFTER,
    "SVCSTG.SWR.4031042": IF_RETRY_AFTER,
    "APIGW.0308": IF_RETRY_AFTER,
}


def error_of(cause: Cause, told: float | None = None) -> GatewayError:
    return GatewayError(cause, retry_delay=told)


def how(cause: Cause) -> str:
    """Return how often a cause is sent again by those who may do it ten times."""
    sent = [
        [n for n in range(1, 15) if delay_before_retry(error_of(cause, told), n, 10, HOUR) is not None]
        for told in (None, TOLD)
    ]
    none, one, ten = list[int](), [1], [*range(1, 11)]
    kinds = {NEVER: [none, none], ONCE: [one, one], FREELY: [ten, ten], IF_RETRY_AFTER: [none, ten]}
    return next((kind for kind, times in kinds.items() if times == sent), f"like nothing else: {sent}")


def test_what_has_no_status_is_sent_again_as_the_table_says() -> None:
    assert {name: how(cause) for name, cause in vars(errors).items() if isinstance(cause, Cause)} == WITHOUT_STATUS


def test_statuses_are_sent_again_as_the_table_says() -> None:
    assert {number: how(find_cause(number)) for number in STATUSES} == STATUSES


def test_codes_are_sent_again_as_the_table_says() -> None:
    again = {code: how(cause) for code, cause in (CLIENT_ERROR_CODES | SERVER_ERROR_CODES).items()}
    assert {code: kind for code, kind in again.items() if kind != NEVER} == CODES


def test_no_cause_of_the_statuses_is_out_of_the_tables() -> None:
    reached = {find_cause(number) for number in STATUSES}
    reached |= {*CLIENT_ERROR_CODES.values(), *SERVER_ERROR_CODES.values()}
    reached |= {cause for cause in vars(errors).values() if isinstance(cause, Cause)}
    assert {
        cause.reason for cause in vars(status).values() if isinstance(cause, Cause) and cause not in reached
    } == set()


# Limits


@pytest.mark.parametrize("retries", range(4))
def test_no_more_than_the_retries_are_sent(retries: int) -> None:
    sent_again = [delay_before_retry(error_of(UNAVAILABLE), n, retries, HOUR) is not None for n in range(1, 6)]
    assert sent_again == [attempts <= retries for attempts in range(1, 6)]


def test_once_is_not_more_than_the_retries_either() -> None:
    assert delay_before_retry(error_of(UPSTREAM_TLS_FAILED), 1, 0, HOUR) is None


@pytest.mark.parametrize(
    ("told", "remaining", "delay"),
    [
        pytest.param(5.0, 5.0 + FIRST_BACKOFF + MIN_TIME, 5.0, id="fits"),
        pytest.param(5.0, 5.0 + MIN_TIME / 2, None, id="leaves too little"),
        pytest.param(5.0, 5.0, None, id="leaves nothing"),
        pytest.param(0.0, FIRST_BACKOFF + MIN_TIME, 0.0, id="at once"),
        pytest.param(0.0, MIN_TIME / 2, None, id="at once is too late"),
        pytest.param(0.0, -1.0, None, id="over"),
        pytest.param(86_400.0, HOUR, None, id="a day"),
    ],
)
@pytest.mark.parametrize("cause", [UNAVAILABLE, RATE_LIMITED], ids=["freely", "if told"])
def test_a_told_wait_is_kept_where_it_fits(cause: Cause, told: float, remaining: float, delay: float | None) -> None:
    chosen = delay_before_retry(error_of(cause, told), 1, 2, remaining)
    assert chosen is None if delay is None else delay <= (chosen or 0.0) <= delay + FIRST_BACKOFF


def test_those_who_were_told_to_wait_together_do_not_come_back_together() -> None:
    assert len({delay_before_retry(error_of(UNAVAILABLE, 5.0), 1, 2, HOUR) for _ in range(20)}) > 10


def test_a_told_wait_does_not_make_a_cause_one_that_is_sent_again() -> None:
    assert delay_before_retry(error_of(GATEWAY_INTERNAL, 0.0), 1, 2, HOUR) is None


def test_a_causes_own_hint_for_callers_is_not_a_told_wait() -> None:
    hinted = error_of(UNAVAILABLE)
    assert hinted.retry_delay == 1.0
    assert delays(1, hinted) <= FIRST_BACKOFF


@pytest.mark.parametrize(("remaining", "fits"), [(0.25 + MIN_TIME, True), (0.25, False), (0.24, False)])
def test_a_wait_fits_with_time_for_one_more_request_and_not_without(
    remaining: float, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "backoff", lambda _: 0.25)
    assert (delay_before_retry(error_of(UPSTREAM_TIMEOUT), 1, 2, remaining) is not None) is fits


def test_without_time_for_another_request_none_is_sent() -> None:
    assert delay_before_retry(error_of(UPSTREAM_TIMEOUT), 1, 2, MIN_TIME / 2) is None


@given(st.integers(1, 20), st.floats(0.0, 2.0))
def test_a_retry_always_leaves_time_for_its_answer(attempts: int, remaining: float) -> None:
    delay = delay_before_retry(error_of(UPSTREAM_TIMEOUT), attempts, 20, remaining)
    assert delay is None or 0.0 <= delay <= remaining - MIN_TIME


# Backoff


def delays(attempts: int, error: GatewayError) -> float:
    """Return the longest of many waits."""
    found = [delay_before_retry(error, attempts, 20, HOUR) for _ in range(500)]
    return max(delay for delay in found if delay is not None)


@given(st.integers(1, 2000))
def test_a_backoff_is_never_below_nothing_nor_above_its_bound(attempts: int) -> None:
    assert 0.0 <= backoff(attempts) <= min(Fraction(FIRST_BACKOFF) * 2 ** (attempts - 1), LAST_BACKOFF)


@pytest.mark.parametrize(
    ("attempts", "bound"),
    [(1, 0.05), (2, 0.1), (3, 0.2), (4, 0.4), (5, 0.8), (6, 1.0), (7, 1.0), (5000, 1.0)],
)
def test_a_backoff_is_spread_over_all_that_its_doubled_bound_allows(attempts: int, bound: float) -> None:
    waits = sorted(backoff(attempts) for _ in range(500))
    assert waits[0] < 0.1 * bound
    assert 0.4 * bound < waits[250] < 0.6 * bound
    assert 0.9 * bound < waits[-1] <= bound


def test_a_failure_without_a_told_wait_is_sent_again_after_a_backoff() -> None:
    assert 0.35 < delays(4, error_of(UPSTREAM_TIMEOUT)) <= 0.4


# Budget


def granted(budget: RetryBudget, now: float, asked: int = 1000) -> int:
    """Ask for more than there can be."""
    return sum(budget.take(now) for _ in range(asked))


def test_a_service_that_has_had_no_call_yet_may_retry() -> None:
    assert granted(RetryBudget(5.0), 5.0) == 10


def test_a_budget_may_hold_less() -> None:
    assert granted(RetryBudget(5.0, most=3.0), 5.0) == 3


def test_a_second_pays_for_one_retry() -> None:
    budget = RetryBudget(5.0)
    granted(budget, 5.0)
    assert [granted(budget, now) for now in (5.5, 6.0, 6.5, 9.0)] == [0, 1, 0, 3]


def test_ten_calls_pay_for_one_retry() -> None:
    budget = RetryBudget(5.0)
    granted(budget, 5.0)
    paid = []
    for _ in range(20):
        budget.note_call()
        paid.append(budget.take(5.0))
    assert paid == ([False] * 9 + [True]) * 2


@pytest.mark.parametrize("silence", [10.0, 11.0, 1e9])
def test_after_a_long_silence_the_floor_is_full_again_and_no_more(silence: float) -> None:
    budget = RetryBudget(5.0)
    granted(budget, 5.0)
    assert granted(budget, 5.0 + silence) == 10


def test_a_full_budget_does_not_save_its_time_up() -> None:
    budget = RetryBudget(0.0)
    assert granted(budget, 1e6) == 10


def test_what_calls_pay_is_bounded() -> None:
    budget = RetryBudget(0.0)
    for _ in range(100_000):
        budget.note_call()
    assert budget.tokens(0.0) == 10
    assert granted(budget, 0.0) == 10


def test_the_tokens_are_the_retries_that_may_be_sent_at_once() -> None:
    budget = RetryBudget(0.0)
    granted(budget, 0.0, asked=3)
    assert [budget.tokens(now) for now in (60.0, 1.5, 0.0)] == [10.0, 8.5, 7.0]
    assert granted(budget, 1.5) == 8


def test_all_tenants_together_gain_and_save_up_what_ten_do() -> None:
    common = CommonRetryBudget(5.0)
    assert granted(common, 5.0) == 100
    assert [common.tokens(now) for now in (5.5, 6.0, 100.0)] == [5.0, 10.0, 100.0]


def test_a_retry_that_one_budget_refuses_costs_the_other_nothing() -> None:
    spent, own, common = RetryBudget(0.0), RetryBudget(0.0), CommonRetryBudget(0.0)
    granted(spent, 0.0)
    assert not take_from_both(spent, common, 0.0)
    assert common.tokens(0.0) == 100
    granted(common, 0.0)
    assert not take_from_both(own, common, 0.0)
    assert own.tokens(0.0) == 10


def test_a_retry_counts_in_both_budgets_as_of_its_time() -> None:
    own, common = RetryBudget(0.0), CommonRetryBudget(0.0)
    granted(own, 0.0)
    granted(common, 0.0)
    assert [sum(take_from_both(own, common, now) for _ in range(3)) for now in (0.0, 1.0, 1.5)] == [0, 1, 0]
    assert (own.tokens(1.5), common.tokens(1.5)) == (0.5, 14.0)


class TimeAlone:
    """What is owed whatever the number of calls: a retry each second, and no more saved up than the floor."""

    def __init__(self) -> None:
        self.tokens = Fraction(10)
        self.granted = 0

    def passes(self, seconds: Fraction) -> None:
        self.tokens = min(self.tokens + seconds, Fraction(10))

    def ask(self) -> None:
        if self.tokens >= 1:
            self.tokens -= 1
            self.granted += 1


CALL, RETRY = "call", "retry"
EIGHTHS = st.integers(0, 200).map(lambda eighths: Fraction(eighths, 8))
TOGETHER = st.integers(1, 30)
EVENTS = st.lists(
    TOGETHER.map(lambda count: [CALL] * count)
    | TOGETHER.map(lambda count: [RETRY] * count)
    | EIGHTHS.map(lambda t: [t])
)


def flat(events: list[list[str | Fraction]]) -> Iterator[str | Fraction]:
    for together in events:
        yield from together


@given(EVENTS)
@example([[RETRY] * 30, [Fraction(25)], [CALL] * 30, [RETRY] * 30, [Fraction(1, 8)], [RETRY]])
def test_retries_are_never_more_than_calls_and_time_pay_nor_fewer_than_time_alone_pays(
    events: list[list[str | Fraction]],
) -> None:
    start = 1000.0
    budget, owed = RetryBudget(start), TimeAlone()
    calls, sent, elapsed = 0, 0, Fraction(0)
    for event in flat(events):
        if event == CALL:
            budget.note_call()
            calls += 1
        elif isinstance(event, Fraction):
            elapsed += event
            owed.passes(event)
        else:
            sent += budget.take(start + float(elapsed))
            owed.ask()
        assert sent <= 10 + Fraction(calls, 10) + elapsed + Fraction(1, 10**6)
        assert sent >= owed.granted
        assert 0 <= budget.tokens(start + float(elapsed)) <= 10
