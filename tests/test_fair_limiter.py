"""The fair limiter: who is next, who gives way, what is kept for newcomers, and that no slot is ever lost."""

from __future__ import annotations

from collections import Counter
from math import isqrt

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.core.fair_limiter import FairLimiter

A, B, C = b"a", b"b", b"c"


def limiter(slots: int, most_waiting: int = 100, *, is_shared: bool = True) -> FairLimiter[str]:
    return FairLimiter(slots, most_waiting, is_shared=is_shared)


def take_all(limiter: FairLimiter[str], key: bytes) -> int:
    """Take all that a tenant gets, and return how many it is."""
    taken = 0
    while limiter.try_acquire(key):
        taken += 1
    return taken


def wait(limiter: FairLimiter[str], key: bytes, count: int, mark: str = "") -> list[str | None]:
    """Let so many of a tenant wait; return who gave way to each."""
    return [limiter.enqueue(key, f"{key.decode()}{mark}{number}") for number in range(count)]


def hand_on(limiter: FairLimiter[str], key: bytes) -> list[str]:
    """Give a slot of a tenant back, and return who is next."""
    limiter.release(key)
    return list(iter(limiter.next_waiter, None))


# Who is next


def test_tenants_take_turns_however_many_of_one_wait() -> None:
    dealt = limiter(1)
    dealt.try_acquire(A)
    for key, count in ((A, 5), (B, 2), (C, 3)):
        wait(dealt, key, count)
    order, holder = list[str](), A
    while next_ones := hand_on(dealt, holder):
        order += next_ones
        holder = next_ones[0][0].encode()
    assert order == ["b0", "c0", "a0", "b1", "c1", "a1", "c2", "a2", "a3", "a4"]


def test_the_next_free_slot_is_a_newcomers_where_one_tenant_holds_all() -> None:
    dealt = limiter(3, is_shared=False)
    assert take_all(dealt, A) == 3
    wait(dealt, A, 50)
    wait(dealt, B, 2)
    assert [hand_on(dealt, A) for _ in range(3)] == [["b0"], ["b1"], ["a0"]]


def test_slots_go_to_who_holds_the_fewest() -> None:
    dealt = limiter(4, is_shared=False)
    for key in (A, A, A, B):
        dealt.try_acquire(key)
    wait(dealt, A, 5)
    wait(dealt, B, 5)
    assert [hand_on(dealt, key) for key in (A, A, B, A)] == [["b0"], ["a0"], ["b1"], ["a1"]]


# What is kept for newcomers


@pytest.mark.parametrize(
    ("slots", "held"), [(1, [1, 0, 0]), (2, [1, 1, 0]), (3, [2, 1, 0]), (10, [9, 1, 0]), (100, [90, 9, 1])]
)
def test_one_tenant_leaves_something_to_the_next(slots: int, held: list[int]) -> None:
    dealt = limiter(slots)
    assert [take_all(dealt, key) for key in (A, B, C)] == held


def test_where_there_is_one_tenant_it_holds_all() -> None:
    assert take_all(limiter(100, is_shared=False), A) == 100


def test_what_is_kept_goes_to_those_who_wait_as_soon_as_they_hold_little_enough() -> None:
    dealt = limiter(100)
    take_all(dealt, A)
    wait(dealt, A, 1)
    assert hand_on(dealt, A) == ["a0"]
    assert (dealt.free, dealt.waiting) == (10, 0)


@pytest.mark.parametrize(
    ("slots", "holders", "owed"),
    [
        pytest.param(4, [B] * 4, False, id="it holds all"),
        pytest.param(4, [B, B, A, A], False, id="it holds half"),
        pytest.param(4, [B, A, A, A], True, id="it holds less than half"),
        pytest.param(4, [A] * 4, True, id="it holds none"),
        pytest.param(2, [A, C], False, id="there are more tenants than slots"),
    ],
)
def test_a_tenant_is_owed_its_share(slots: int, holders: list[bytes], owed: bool) -> None:
    dealt = limiter(slots, is_shared=False)
    for key in holders:
        dealt.try_acquire(key)
    wait(dealt, B, 1)
    assert dealt.is_owed(B) is owed


# Who gives way


def test_in_a_full_queue_the_newest_of_the_longest_gives_way() -> None:
    dealt = limiter(1, 4)
    dealt.try_acquire(C)
    assert wait(dealt, A, 4) == [None] * 4
    assert wait(dealt, A, 1, "+") == ["a+0"]
    assert wait(dealt, B, 3) == ["a3", "a2", "b2"]
    assert dealt.waiting == 4


def test_where_nobody_may_wait_nobody_waits() -> None:
    dealt = limiter(1, 0)
    dealt.try_acquire(A)
    assert wait(dealt, B, 1) == ["b0"]
    assert (dealt.waiting, hand_on(dealt, A), dealt.free) == (0, [], 1)


def test_each_of_many_waits_for_its_turn_and_the_next_one_finds_the_queue_full() -> None:
    dealt = limiter(1, 200)
    dealt.try_acquire(A)
    assert all(dealt.enqueue(number.to_bytes(2), str(number)) is None for number in range(200))
    assert dealt.enqueue(B, "b0") == "b0"


def test_who_is_known_is_no_more_than_who_holds_or_waits() -> None:
    dealt = limiter(10, 10)
    for number in range(100_000):
        key = number.to_bytes(4)
        assert dealt.try_acquire(key)
        dealt.release(key)
    assert not dealt._held


# In any order

KEYS = [bytes([number]) for number in range(5)]


class AnyOrder(RuleBasedStateMachine):
    """Tenants that take, wait, leave and give back in any order, beside what must hold of them."""

    @initialize(slots=st.integers(1, 25), most=st.integers(0, 12), is_shared=st.booleans())
    def begin(self, slots: int, most: int, is_shared: bool) -> None:
        self.slots, self.most, self.is_shared = slots, most, is_shared
        self.dealt: FairLimiter[tuple[bytes, int]] = FairLimiter(slots, most, is_shared=is_shared)
        self.held: Counter[bytes] = Counter()
        self.waiting: list[tuple[bytes, int]] = []
        self.number = 0
        self.passed_over: Counter[tuple[bytes, int]] = Counter()

    @rule(key=st.sampled_from(KEYS), count=st.integers(1, 8))
    def they_come(self, key: bytes, count: int) -> None:
        for _ in range(count):
            if self.dealt.try_acquire(key):
                self.held[key] += 1
                continue
            assert not self.may_hold_more(key)
            self.wait(key)

    def wait(self, key: bytes) -> None:
        self.number += 1
        waiter = (key, self.number)
        lengths = Counter(key for key, _ in self.waiting)
        gives_way = self.dealt.enqueue(key, waiter)
        if len(self.waiting) < self.most:
            assert gives_way is None
        elif gives_way == waiter:
            assert max(lengths.values(), default=0) <= lengths[key] + 1
            return
        else:
            assert gives_way is not None
            assert lengths[gives_way[0]] == max(lengths.values()) > lengths[key] + 1
            assert gives_way == [one for one in self.waiting if one[0] == gives_way[0]][-1]
            self.waiting.remove(gives_way)
        self.waiting.append(waiter)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def one_leaves(self, data: st.DataObject) -> None:
        waiter = data.draw(st.sampled_from(self.waiting))
        assert self.dealt.dequeue(waiter[0], waiter)
        assert not self.dealt.dequeue(waiter[0], waiter)
        self.waiting.remove(waiter)

    @precondition(lambda self: self.held.total())
    @rule(data=st.data(), count=st.integers(1, 8))
    def some_are_given_back(self, data: st.DataObject, count: int) -> None:
        for _ in range(min(count, self.held.total())):
            key = data.draw(st.sampled_from(sorted(+self.held)))
            self.held[key] -= 1
            self.dealt.release(key)
            while (waiter := self.dealt.next_waiter()) is not None:
                self.check_turn(waiter)
                self.waiting.remove(waiter)
                self.held[waiter[0]] += 1

    def check_turn(self, waiter: tuple[bytes, int]) -> None:
        """Nobody who waits holds fewer; of its own tenant it is the oldest; and none is passed over for ever."""
        assert self.held[waiter[0]] == min(self.held[key] for key, _ in self.waiting)
        oldest = dict(reversed(self.waiting))
        assert waiter[1] == oldest[waiter[0]]
        for key, number in oldest.items():
            if not self.held[key] and (key, number) != waiter:
                self.passed_over[key, number] += 1
                assert self.passed_over[key, number] < len(KEYS)

    def may_hold_more(self, key: bytes) -> bool:
        free = self.slots - self.held.total()
        return free > 0 and (not self.held[key] or not self.is_shared or self.held[key] < 9 * (free - 1))

    @invariant()
    def no_slot_is_lost_and_none_is_made(self) -> None:
        assert self.dealt.free == self.slots - self.held.total() >= 0

    @invariant()
    def the_queue_is_bounded_and_nobody_in_it_may_take_what_is_free(self) -> None:
        assert self.dealt.waiting == len(self.waiting) <= self.most
        assert not any(self.may_hold_more(key) for key, _ in self.waiting)

    @invariant()
    def what_is_looked_through_is_short(self) -> None:
        """As many tenants with different numbers of slots, or of waiters, as there can be."""
        assert len(self.dealt._by_held._ranks) <= isqrt(2 * self.slots) + 1
        assert len(self.dealt._by_waiters._ranks) <= isqrt(2 * self.most) + 1

    def teardown(self) -> None:
        """Once all is given back, everybody has had a turn and all slots are free."""
        while +self.held:
            key = next(iter(+self.held))
            self.held[key] -= 1
            self.dealt.release(key)
            while (waiter := self.dealt.next_waiter()) is not None:
                self.waiting.remove(waiter)
                self.held[waiter[0]] += 1
        assert not self.waiting
        assert (self.dealt.free, self.dealt.waiting) == (self.slots, 0)
        known = (self.dealt._held, self.dealt._queues, self.dealt._by_held._ranks, self.dealt._by_waiters._ranks)
        assert not any(known)


AnyOrder.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
TestAnyOrder = AnyOrder.TestCase
