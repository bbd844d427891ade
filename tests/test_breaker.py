"""The circuit breaker: when it opens, for how long, and how one probe decides whether it closes."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from gateway.core.breaker import Breaker, Outcome, Rules, State, Ticket

ANSWERED, UNAVAILABLE, NOTHING = Outcome.ANSWERED, Outcome.UNAVAILABLE, Outcome.NOTHING
CLOSED, OPEN, HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN
START = 1000.0
RULES = Rules(window=10.0, least_attempts=20, ratio=0.5)
# Seconds for which it stays open, but for the tenth that chance adds.
FIRST, LAST = 5.0, 60.0


def let(breaker: Breaker, now: float) -> Ticket:
    """Begin an attempt that must be let through."""
    ticket = breaker.admit(now)
    assert ticket is not None
    return ticket


def attempt(breaker: Breaker, outcome: Outcome, now: float = START, times: int = 1) -> None:
    for _ in range(times):
        breaker.settle(let(breaker, now), outcome, now)


def opened(now: float = START) -> Breaker:
    breaker = Breaker(RULES)
    attempt(breaker, UNAVAILABLE, now, times=20)
    assert breaker.state is OPEN
    return breaker


def fail_probe(breaker: Breaker, now: float) -> float:
    """Let the probe fail as soon as it may be sent; return when the next one may."""
    attempt(breaker, UNAVAILABLE, now)
    return now + breaker.remaining(now)


# Opening


@pytest.mark.parametrize(
    ("answered", "failed", "state"),
    [
        pytest.param(0, 19, CLOSED, id="all of too few"),
        pytest.param(0, 20, OPEN, id="all of enough"),
        pytest.param(10, 9, CLOSED, id="too few"),
        pytest.param(10, 10, OPEN, id="half"),
        pytest.param(11, 10, CLOSED, id="less than half"),
        pytest.param(500, 499, CLOSED, id="less than half of many"),
        pytest.param(500, 500, OPEN, id="half of many"),
    ],
)
def test_it_opens_when_half_of_twenty_or_more_attempts_have_failed(answered: int, failed: int, state: State) -> None:
    breaker = Breaker(RULES)
    attempt(breaker, ANSWERED, times=answered)
    attempt(breaker, UNAVAILABLE, times=failed)
    assert breaker.state is state


@pytest.mark.parametrize(
    ("rules", "answered", "failed", "state"),
    [
        pytest.param(replace(RULES, least_attempts=3), 0, 2, CLOSED, id="fewer than the least"),
        pytest.param(replace(RULES, least_attempts=3), 0, 3, OPEN, id="the least"),
        pytest.param(replace(RULES, least_attempts=1), 0, 1, OPEN, id="one"),
        pytest.param(replace(RULES, ratio=1.0), 1, 1000, CLOSED, id="not all"),
        pytest.param(replace(RULES, ratio=1.0), 0, 20, OPEN, id="all"),
        pytest.param(replace(RULES, ratio=0.1), 18, 2, OPEN, id="a tenth"),
        pytest.param(replace(RULES, least_attempts=math.inf), 0, 10_000, CLOSED, id="never"),
    ],
)
def test_its_rules_tell_how_many_must_fail(rules: Rules, answered: int, failed: int, state: State) -> None:
    breaker = Breaker(rules)
    attempt(breaker, ANSWERED, times=answered)
    attempt(breaker, UNAVAILABLE, times=failed)
    assert breaker.state is state


@pytest.mark.parametrize(("later", "state"), [(3599.0, OPEN), (3600.0, CLOSED)])
def test_its_rules_tell_how_far_back_it_looks(later: float, state: State) -> None:
    breaker = Breaker(replace(RULES, window=3600.0))
    attempt(breaker, UNAVAILABLE, START, times=19)
    attempt(breaker, UNAVAILABLE, START + later)
    assert breaker.state is state


def test_an_upstream_that_always_answers_never_opens_it() -> None:
    breaker = Breaker(RULES)
    attempt(breaker, ANSWERED, times=1000)
    assert breaker.state is CLOSED


def test_an_answer_never_opens_it() -> None:
    breaker = Breaker(RULES)
    attempt(breaker, UNAVAILABLE, times=19)
    attempt(breaker, ANSWERED)
    assert breaker.state is CLOSED
    attempt(breaker, UNAVAILABLE)
    assert breaker.state is OPEN


def test_while_the_probe_is_under_way_others_are_told_to_wait_a_second() -> None:
    breaker = Breaker(RULES)
    attempt(breaker, UNAVAILABLE, times=20)
    after = breaker.remaining(0.0)
    assert breaker.state_at(after / 2) is OPEN
    assert breaker.state_at(after) is State.HALF_OPEN
    assert breaker.admit(after)
    assert breaker.remaining(after) == 1.0


@pytest.mark.parametrize(
    ("later", "state"),
    [
        pytest.param(0.0, OPEN, id="at once"),
        pytest.param(8.9, OPEN, id="within the window"),
        pytest.param(10.0, CLOSED, id="behind the window"),
        pytest.param(1e9, CLOSED, id="long after"),
    ],
)
def test_attempts_are_forgotten_when_the_window_has_passed_over_them(later: float, state: State) -> None:
    breaker = Breaker(RULES)
    attempt(breaker, UNAVAILABLE, START, times=19)
    attempt(breaker, UNAVAILABLE, START + later)
    assert breaker.state is state


def test_attempts_are_forgotten_step_by_step() -> None:
    breaker = Breaker(RULES)
    for second in range(60):
        attempt(breaker, UNAVAILABLE, START + second)
    assert breaker.state is CLOSED
    attempt(breaker, UNAVAILABLE, START + 59, times=9)
    assert breaker.state is CLOSED
    attempt(breaker, UNAVAILABLE, START + 59)
    assert breaker.state is OPEN


@pytest.mark.parametrize(("later", "state"), [(0.0, CLOSED), (0.5, CLOSED), (1.0, OPEN)])
def test_what_ends_within_a_tenth_of_the_window_is_forgotten_together(later: float, state: State) -> None:
    breaker = Breaker(RULES)
    attempt(breaker, ANSWERED, START, times=40)
    attempt(breaker, UNAVAILABLE, START + later, times=19)
    attempt(breaker, UNAVAILABLE, START + 10)
    assert breaker.state is state


def test_an_attempt_counts_for_the_time_at_which_it_ended() -> None:
    breaker = Breaker(RULES)
    tickets = [let(breaker, START) for _ in range(20)]
    for ticket in tickets:
        breaker.settle(ticket, UNAVAILABLE, START + 3600)
    assert breaker.state is OPEN


def test_what_was_cut_off_counts_for_nothing() -> None:
    breaker = Breaker(RULES)
    attempt(breaker, NOTHING, times=1000)
    attempt(breaker, UNAVAILABLE, times=19)
    assert breaker.state is CLOSED
    attempt(breaker, NOTHING, times=1000)
    attempt(breaker, UNAVAILABLE)
    assert breaker.state is OPEN


# Open


def test_open_it_lets_none_through_until_the_time_that_it_tells() -> None:
    breaker = opened()
    wait = breaker.remaining(START)
    assert FIRST <= wait <= FIRST * 1.1
    assert breaker.remaining(START + 2) == pytest.approx(wait - 2)
    assert [breaker.admit(START + part * wait) for part in (0.0, 0.5, 0.999)] == [None] * 3
    assert breaker.state is OPEN
    assert breaker.admit(START + wait) is not None


def test_the_time_that_it_tells_is_never_below_nothing() -> None:
    assert Breaker(RULES).remaining(START) == 0
    assert opened().remaining(START + 3600) == 0


def test_failures_are_told_for_as_long_as_they_count() -> None:
    breaker = Breaker(RULES)
    attempt(breaker, UNAVAILABLE, START, times=5)
    assert [breaker.failures(START + later) for later in (0.0, 9.9, 10.0)] == [5, 5, 0]


def test_a_recovery_ends_the_wait_of_what_opened_before_it() -> None:
    breaker = opened(START)
    breaker.note_recovery(START)
    assert breaker.remaining(START) >= FIRST
    breaker.note_recovery(START + 1)
    assert breaker.remaining(START) == 1.0


def test_a_circuit_that_was_never_open_tells_no_wait() -> None:
    assert Breaker(RULES).remaining(0.0) == 0.0


def test_breakers_that_open_together_do_not_probe_together() -> None:
    waits = [opened().remaining(START) for _ in range(100)]
    assert min(waits) < FIRST * 1.02
    assert max(waits) > FIRST * 1.08


@pytest.mark.parametrize(("recovered", "state"), [(-1.0, OPEN), (1.0, HALF_OPEN)], ids=["before", "since"])
def test_an_upstream_that_has_recovered_since_it_opened_is_waited_for_no_longer(recovered: float, state: State) -> None:
    breaker = opened()
    breaker.note_recovery(START + recovered)
    assert breaker.state_at(START + 2) is state


# Half open


def probing() -> tuple[Breaker, Ticket, float]:
    breaker = opened()
    now = START + breaker.remaining(START)
    return breaker, let(breaker, now), now


def test_half_open_it_lets_exactly_one_probe_through() -> None:
    breaker, _, now = probing()
    assert breaker.state is HALF_OPEN
    assert [breaker.admit(now + later) for later in (0.0, 1.0, 3600.0)] == [None] * 3


def test_a_probe_that_is_answered_closes_it_and_all_is_forgotten() -> None:
    breaker, probe, now = probing()
    breaker.settle(probe, ANSWERED, now)
    assert breaker.state is CLOSED
    attempt(breaker, UNAVAILABLE, now, times=19)
    assert breaker.state is CLOSED
    attempt(breaker, UNAVAILABLE, now)
    assert breaker.state is OPEN


def test_a_probe_that_fails_opens_it_from_that_moment_on() -> None:
    breaker, probe, now = probing()
    breaker.settle(probe, UNAVAILABLE, now + 7)
    assert breaker.state is OPEN
    assert breaker.admit(now + 7 + 2 * FIRST - 0.001) is None
    assert breaker.admit(now + 7 + 2 * FIRST * 1.1) is not None


def test_each_probe_that_fails_doubles_the_wait_up_to_the_last() -> None:
    breaker = opened()
    times = [START, START + breaker.remaining(START)]
    for _ in range(6):
        times.append(fail_probe(breaker, times[-1]))
    waits = [after - before for before, after in pairwise(times)]
    assert all(least <= wait <= least * 1.1 for wait, least in zip(waits, (5, 10, 20, 40, 60, 60, 60), strict=True))


def test_a_probe_that_is_answered_makes_the_next_wait_the_first_again() -> None:
    breaker = opened()
    now = fail_probe(breaker, START + breaker.remaining(START))
    now = fail_probe(breaker, now)
    attempt(breaker, ANSWERED, now)
    attempt(breaker, UNAVAILABLE, now, times=20)
    assert FIRST <= breaker.remaining(now) <= FIRST * 1.1


def test_a_probe_that_is_cut_off_frees_its_place_and_decides_nothing() -> None:
    breaker, probe, now = probing()
    breaker.settle(probe, NOTHING, now)
    assert breaker.state is HALF_OPEN
    second = let(breaker, now)
    assert breaker.admit(now) is None
    breaker.settle(second, ANSWERED, now)
    assert breaker.state is CLOSED


def test_a_probe_that_is_cut_off_does_not_double_the_wait() -> None:
    breaker, probe, now = probing()
    breaker.settle(probe, NOTHING, now)
    fail_probe(breaker, now)
    assert 2 * FIRST <= breaker.remaining(now) <= 2 * FIRST * 1.1


# Late results


@pytest.mark.parametrize("outcome", Outcome)
def test_a_late_result_neither_frees_the_probe_nor_decides(outcome: Outcome) -> None:
    breaker = Breaker(RULES)
    late = [let(breaker, START) for _ in range(50)]
    attempt(breaker, UNAVAILABLE, times=20)
    now = START + breaker.remaining(START)
    probe = let(breaker, now)
    for ticket in late:
        breaker.settle(ticket, outcome, now)
        assert breaker.state is HALF_OPEN
        assert breaker.admit(now) is None
    breaker.settle(probe, ANSWERED, now)
    assert breaker.state is CLOSED


@pytest.mark.parametrize("outcome", Outcome)
def test_a_late_result_neither_closes_nor_prolongs_it_while_it_is_open(outcome: Outcome) -> None:
    breaker = Breaker(RULES)
    late = [let(breaker, START) for _ in range(50)]
    attempt(breaker, UNAVAILABLE, times=20)
    wait = breaker.remaining(START)
    for ticket in late:
        breaker.settle(ticket, outcome, START + 1)
    assert (breaker.state, breaker.remaining(START)) == (OPEN, wait)


def test_a_late_result_does_not_open_it_again_once_it_is_closed() -> None:
    breaker = Breaker(RULES)
    late = [let(breaker, START) for _ in range(50)]
    attempt(breaker, UNAVAILABLE, times=20)
    now = START + breaker.remaining(START)
    attempt(breaker, ANSWERED, now)
    for ticket in late:
        breaker.settle(ticket, UNAVAILABLE, now)
    assert breaker.state is CLOSED
    attempt(breaker, UNAVAILABLE, now, times=19)
    assert breaker.state is CLOSED


def test_the_probe_of_an_earlier_time_is_late_as_well() -> None:
    breaker, first, now = probing()
    breaker.settle(first, UNAVAILABLE, now)
    now += breaker.remaining(now)
    let(breaker, now)
    breaker.settle(first, ANSWERED, now)
    assert breaker.state is HALF_OPEN
    assert breaker.admit(now) is None


# In any order

# When it began, in states of the breaker, and what it was let through with.
Attempt = tuple[int, Ticket]
COUNTS = st.integers(1, 3) | st.integers(19, 21)


class AnyOrder(RuleBasedStateMachine):
    """Attempts that begin and end in any order, beside what must hold of them: a model that keeps every attempt."""

    attempts = Bundle("attempts")

    @initialize()
    def begin(self) -> None:
        self.breaker = Breaker(RULES)
        self.now = START
        self.state = CLOSED
        self.epoch = 0  # counts the states
        self.probing = False
        self.ended: list[tuple[float, Outcome]] = []  # since it was closed
        self.wait = FIRST
        self.opened_at = START

    @rule(seconds=st.floats(0.0, 15.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.state is OPEN)
    @rule(part=st.sampled_from([0.5, 0.999, 1.0]))
    def it_is_waited_for(self, part: float) -> None:
        self.now += part * self.breaker.remaining(self.now)

    @rule(target=attempts, count=COUNTS)
    def they_begin(self, count: int) -> list[Attempt]:
        return [begun for _ in range(count) if (begun := self.admit())]

    @rule(ending=consumes(attempts), outcome=st.sampled_from(Outcome))
    def they_end(self, ending: list[Attempt], outcome: Outcome) -> None:
        for begun in ending:
            self.settle(begun, outcome)

    @rule(count=COUNTS, outcome=st.sampled_from(Outcome))
    def they_begin_and_end_one_by_one(self, count: int, outcome: Outcome) -> None:
        for _ in range(count):
            if begun := self.admit():
                self.settle(begun, outcome)

    @invariant()
    def it_tells_a_wait_only_while_it_is_open(self) -> None:
        wait = self.breaker.remaining(self.now)
        assert 0 <= wait <= LAST * 1.1
        assert self.state is OPEN or wait in (0, 1)

    def admit(self) -> Attempt | None:
        ticket = self.breaker.admit(self.now)
        if self.state is OPEN:
            assert ticket is None or self.now >= self.opened_at + self.wait
            assert ticket is not None or self.now < self.opened_at + self.wait * 1.1
            if ticket is not None:
                self.enter(HALF_OPEN)
        if self.state is HALF_OPEN:
            assert (ticket is None) == self.probing
            self.probing = True
        assert self.breaker.state is self.state
        assert ticket is not None or self.state is not CLOSED
        return None if ticket is None else (self.epoch, ticket)

    def settle(self, begun: Attempt, outcome: Outcome) -> None:
        epoch, ticket = begun
        self.breaker.settle(ticket, outcome, self.now)
        if epoch == self.epoch and self.state is HALF_OPEN:
            self.decide(outcome)
        elif epoch == self.epoch and outcome is not NOTHING:
            self.count(outcome)
        assert self.breaker.state is self.state

    def decide(self, outcome: Outcome) -> None:
        self.probing = False
        if outcome is ANSWERED:
            self.wait = FIRST
            self.enter(CLOSED)
        elif outcome is UNAVAILABLE:
            self.wait = min(2 * self.wait, LAST)
            self.open()

    def count(self, outcome: Outcome) -> None:
        """What ended nine to ten seconds ago may be forgotten already, or not: where that matters, either is right."""
        self.ended.append((self.now, outcome))
        window = [outcome for at, outcome in self.ended if at > self.now - 10]
        kept = [outcome for at, outcome in self.ended if at > self.now - 9]
        if outcome is UNAVAILABLE and len(kept) >= 20 and 2 * kept.count(UNAVAILABLE) >= len(window):
            assert self.breaker.state is OPEN
        if outcome is not UNAVAILABLE or len(window) < 20 or 2 * window.count(UNAVAILABLE) < len(kept):
            assert self.breaker.state is CLOSED
        if self.breaker.state is OPEN:
            self.open()

    def open(self) -> None:
        self.enter(OPEN)
        self.opened_at = self.now
        assert self.wait <= self.breaker.remaining(self.now) <= self.wait * 1.1

    def enter(self, state: State) -> None:
        self.state = state
        self.epoch += 1
        self.probing = False
        self.ended.clear()


AnyOrder.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
TestAnyOrder = AnyOrder.TestCase
