"""The circuits of several tenants: whose failures close whose way, and how little is known of each."""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.breaker import Outcome, Rules, State
from gateway.core.circuits import Circuits, Pass
from gateway.core.retry import CommonRetryBudget, RetryBudget, take_from_both
from gateway.core.tenants import MAX_TENANTS, Tenant, Tenants

ANSWERED, UNAVAILABLE, NOTHING = Outcome.ANSWERED, Outcome.UNAVAILABLE, Outcome.NOTHING
START = 1000.0
RULES = Rules(window=10.0, least_attempts=20, ratio=0.5)
A, B, C, D = b"a", b"b", b"c", b"d"


class World:
    """Tenants in front of one upstream, and the time."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.circuits, self.tenants, self.now = Circuits(rules), Tenants(rules), START

    def of(self, key: bytes) -> Tenant:
        return self.tenants.get(key, self.now)

    def begin(self, key: bytes) -> Pass | None:
        return self.circuits.admit(self.of(key), self.now)

    def end(self, passed: Pass | None, outcome: Outcome) -> None:
        assert passed is not None
        self.circuits.settle(passed, outcome, self.now)

    def attempt(self, key: bytes, outcome: Outcome, times: int = 1) -> int:
        """Try so often; return how many attempts were let through."""
        let = 0
        for _ in range(times):
            passed = self.begin(key)
            if passed is not None:
                self.end(passed, outcome)
                let += 1
        return let

    def state(self) -> State:
        return self.circuits.state_at(self.now)


def opened(*failing: bytes) -> World:
    """A world in which the circuit for all is open, because of several tenants."""
    world = World()
    for key in failing or (A, B):
        world.attempt(key, UNAVAILABLE, 50)
    assert world.state() is State.OPEN
    return world


# One tenant's failures


def test_a_tenant_that_fails_closes_its_own_way_and_nobody_elses() -> None:
    world = World()
    assert world.attempt(A, UNAVAILABLE, 1000) == 20
    assert world.attempt(B, ANSWERED, 1000) == 1000
    assert world.attempt(A, ANSWERED) == 0
    assert (world.state(), world.tenants.left_alone(world.now)) == (State.CLOSED, 1)


def test_the_first_call_of_another_is_let_through_long_after_only_one_has_failed() -> None:
    world = World()
    for _ in range(100):
        world.attempt(A, UNAVAILABLE, 100)
        world.now += 1
    assert world.attempt(B, ANSWERED, 10) == 10


def test_requests_under_way_that_fail_after_a_tenants_own_circuit_opened_count_for_no_others() -> None:
    world = World()
    passed = [world.begin(A) for _ in range(1000)]
    for one in passed:
        world.end(one, UNAVAILABLE)
    world.attempt(B, UNAVAILABLE)
    assert world.attempt(C, ANSWERED, 10) == 10


def test_a_failure_here_and_there_does_not_make_a_tenants_outage_that_of_all() -> None:
    world = World()
    world.attempt(B, ANSWERED, 20)
    for _ in range(20):
        world.attempt(A, UNAVAILABLE, 2)
        world.attempt(B, UNAVAILABLE)
        world.attempt(B, ANSWERED, 2)
    assert world.attempt(C, ANSWERED, 5) == 5


def test_alone_a_tenants_own_circuit_is_the_one_that_is_told() -> None:
    world = World()
    world.attempt(B, ANSWERED)
    world.now += RULES.window
    world.attempt(A, UNAVAILABLE, 20)
    assert world.state() is State.OPEN
    world.now += 6
    assert world.state() is State.HALF_OPEN
    world.attempt(B, ANSWERED)
    assert world.state() is State.CLOSED


# The failures of several


@pytest.mark.parametrize("each", [1, 2, 5, 10])
def test_where_several_fail_it_opens_for_all(each: int) -> None:
    world = World()
    keys = [bytes([number]) for number in range(20 // each)]
    let = sum(world.attempt(key, UNAVAILABLE, each) for key in keys)
    assert (let, world.state()) == (20, State.OPEN)
    assert world.attempt(keys[0], ANSWERED, 100) == 0


def test_what_failed_before_the_window_is_no_sign_that_several_fail() -> None:
    world = World()
    world.attempt(B, UNAVAILABLE, 5)
    world.now += RULES.window
    world.attempt(A, UNAVAILABLE, 100)
    assert world.attempt(C, ANSWERED, 10) == 10


def test_who_is_answered_goes_on_until_a_request_of_its_own_fails() -> None:
    world = World()
    world.attempt(C, ANSWERED)
    world.attempt(A, UNAVAILABLE, 50)
    world.attempt(B, UNAVAILABLE, 50)
    assert world.state() is State.OPEN
    assert world.attempt(C, ANSWERED, 100) == 100
    assert world.state() is State.OPEN  # there may be a part of the upstream that works
    assert world.attempt(C, UNAVAILABLE, 100) == 1


@pytest.mark.parametrize(("since", "let"), [(RULES.window - 0.1, 1), (RULES.window, 0)])
def test_an_answer_counts_for_as_long_as_the_window_is(since: float, let: int) -> None:
    world = World()
    world.attempt(C, ANSWERED)
    world.now += since
    world.attempt(A, UNAVAILABLE, 50)
    world.attempt(B, UNAVAILABLE, 50)
    assert world.attempt(D, UNAVAILABLE) == 1  # the probe of this second
    assert world.attempt(C, ANSWERED) == let


def test_an_upstream_that_is_down_gets_one_request_a_second() -> None:
    world, let = opened(), 0
    for step in range(100):
        let += sum(world.attempt(bytes([step, number]), UNAVAILABLE) for number in range(10))
        world.now += 0.1
    assert let == 10
    assert world.state() is State.OPEN


def test_an_answer_to_one_who_is_new_closes_it_for_all() -> None:
    world = opened()
    assert world.circuits.remaining(world.of(C), world.now) >= 1
    assert world.attempt(C, ANSWERED) == 1
    assert (world.state(), world.attempt(C, ANSWERED, 50), world.attempt(D, ANSWERED, 50)) == (State.CLOSED, 50, 50)


def test_who_failed_waits_five_seconds_and_is_told_so() -> None:
    world = World()
    for number in range(20):
        world.attempt(bytes([number]), UNAVAILABLE)
    tenant = world.of(bytes([0]))
    assert world.circuits.remaining(tenant, world.now) == 5
    world.now += 4.9
    assert world.begin(tenant.key) is None
    world.now += 0.1
    assert world.attempt(tenant.key, ANSWERED) == 1
    assert world.state() is State.CLOSED


def test_when_it_closes_nobody_waits_any_longer_because_of_the_time_before() -> None:
    world = opened()
    world.now += 1
    assert world.attempt(A, ANSWERED) == 0
    world.attempt(C, ANSWERED)
    world.now += 0.1
    assert [world.attempt(key, ANSWERED, 10) for key in (A, B)] == [10, 10]


def test_a_late_result_of_one_who_probed_changes_nothing() -> None:
    world = opened()
    late = world.begin(C)
    world.now += 1
    world.attempt(D, ANSWERED)
    world.end(late, UNAVAILABLE)
    assert world.state() is State.CLOSED


# Probes that are cut off


def test_who_cuts_its_probe_off_leaves_the_next_one_to_another() -> None:
    world = opened()
    for _ in range(10):
        probe = world.begin(C)
        assert world.begin(D) is None
        world.now += 0.5
        world.end(probe, NOTHING)
        assert world.begin(C) is None
        world.end(world.begin(D), NOTHING)
        world.now += 1
    assert world.attempt(D, ANSWERED) == 1


def test_a_probe_that_takes_long_holds_nobody_elses_up() -> None:
    world = opened()
    assert world.begin(C)
    world.now += 1
    assert world.begin(C) is None
    assert world.attempt(D, ANSWERED) == 1


def test_a_tenants_own_probe_that_is_refused_for_all_is_not_lost() -> None:
    world = opened()
    world.now += 6
    assert world.begin(C)
    assert world.begin(A) is None
    world.now += 1
    assert world.attempt(A, ANSWERED, 3) == 3


# Switched off


def test_without_a_circuit_all_is_let_through() -> None:
    world = World(replace(RULES, least_attempts=math.inf))
    assert [world.attempt(key, UNAVAILABLE, 1000) for key in (A, B)] == [1000, 1000]
    assert world.state() is State.CLOSED


# In any order


@given(
    st.lists(
        st.tuples(st.sampled_from([A, B, C]), st.sampled_from([UNAVAILABLE, ANSWERED, NOTHING]), st.floats(0.0, 3.0)),
        max_size=200,
    )
)
def test_who_is_always_answered_is_never_held_up(steps: list[tuple[bytes, Outcome, float]]) -> None:
    """Whatever three others do, and however often."""
    world = World()
    for key, outcome, seconds in steps:
        world.attempt(key, outcome, 30)
        assert world.attempt(D, ANSWERED) == 1
        world.now += seconds


@given(st.lists(st.tuples(st.sampled_from([ANSWERED, UNAVAILABLE, NOTHING]), st.floats(0.0, 30.0)), max_size=100))
def test_with_one_tenant_there_is_its_own_circuit_and_nothing_else(steps: list[tuple[Outcome, float]]) -> None:
    world = World()
    for outcome, seconds in steps:
        own = world.of(A).breaker
        before = own.state_at(world.now)
        assert world.state() is before
        assert (world.attempt(A, outcome, 7) == 0) is (before is State.OPEN)
        world.now += seconds


# What is known of tenants


def test_of_a_hundred_thousand_tenants_those_who_called_last_are_known() -> None:
    tenants = Tenants(RULES)
    first = tenants.get(b"first", START)
    for number in range(100_000):
        tenants.get(number.to_bytes(16), START)
        assert tenants.get(b"first", START) is first
    assert len(tenants) == MAX_TENANTS
    assert tenants.get((1).to_bytes(16), START).outcome is NOTHING


def test_a_tenant_takes_little_memory_however_much_it_does() -> None:
    world = World()
    tenant = world.of(bytes(16))
    for _ in range(1000):
        world.attempt(tenant.key, ANSWERED)
        world.now += 0.5
    assert memory_of(tenant) < 2048


def memory_of(tenant: Tenant) -> int:
    """Sum up the sizes of a tenant and of all that belongs to it alone."""
    seen: dict[int, int] = {}

    def add(thing: object) -> None:
        if id(thing) in seen or isinstance(thing, type | Rules | Outcome | State | bool | None):
            return
        seen[id(thing)] = sys.getsizeof(thing)
        slots = getattr(type(thing), "__slots__", ())
        for part in [getattr(thing, name) for name in slots] + (list(thing) if isinstance(thing, list) else []):
            add(part)

    add(tenant)
    return sum(seen.values())


# Retries of several


def retries(own: RetryBudget, common: RetryBudget, now: float, asked: int = 1000) -> int:
    return sum(take_from_both(own, common, now) for _ in range(asked))


def test_a_tenant_that_spends_its_retries_leaves_others_theirs() -> None:
    common, greedy = CommonRetryBudget(START), RetryBudget(START)
    for second in range(100):
        retries(greedy, common, START + second)
    assert retries(RetryBudget(START), common, START + 100) == 10


def test_what_a_tenant_may_not_send_is_not_taken_from_all() -> None:
    common, own = CommonRetryBudget(START), RetryBudget(START)
    assert retries(own, common, START) == 10
    assert common.tokens(START) == 90


def test_all_together_may_send_a_hundred_at_once_and_ten_a_second() -> None:
    common = CommonRetryBudget(START)
    assert sum(retries(RetryBudget(START), common, START) for _ in range(50)) == 100
    assert sum(retries(RetryBudget(START), common, START + 1) for _ in range(50)) == 10


def test_ten_calls_pay_for_one_retry_beside_that() -> None:
    common = CommonRetryBudget(START)
    tenants = [RetryBudget(START) for _ in range(50)]
    sum(retries(own, common, START) for own in tenants)
    for own in tenants:
        for _ in range(10):
            own.note_call()
            common.note_call()
    assert sum(retries(own, common, START) for own in tenants) == 50
