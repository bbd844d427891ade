"""A concurrency limiter that tenants share fairly: who may go next, without a clock and without a wait of its own.

- When a slot is free, it goes to the waiting tenant that holds the fewest; those that hold equally many take turns.
  Within a tenant, who came first goes first.
- A tenant takes a free slot only while it holds less than RESERVE times the others that stay free, so one that is new
  finds one at once. A tenant that holds none takes any.
- The queue is bounded. In a full one the newest of the longest queue gives way to a tenant whose own is shorter.

Invariant: while a slot is free, nobody who waits may take it. So whoever releases one calls `next_waiter` until it
returns None. Each operation takes constant time, but for looking at the distinct numbers of slots that waiting tenants
hold (or of waiters that they have): with N in all there are no more than the square root of 2 N of those.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter")

# With 100 slots one tenant alone holds up to 90, and the next one up to 9 of the other 10.
RESERVE = 9


class _Ranking:
    """Tenants by a number; those with the same one in the order in which they came to it."""

    def __init__(self, best: Callable[[Iterable[int]], int]) -> None:
        self._best = best
        self._ranks: dict[int, OrderedDict[bytes, None]] = {}

    def move(self, key: bytes, old: int | None, new: int | None) -> None:
        """Give a tenant another number; None where it comes, or goes."""
        if old is not None:
            rank = self._ranks[old]
            del rank[key]
            if not rank:
                del self._ranks[old]
        if new is not None:
            self._ranks.setdefault(new, OrderedDict())[key] = None

    def first(self) -> bytes | None:
        return next(iter(self._ranks[self._best(self._ranks)])) if self._ranks else None


class FairLimiter(Generic[Waiter]):
    """Deals slots out to tenants, each of which is known by a key.

    Args:
        slots: Slots that can be held at the same time, 1 or more.
        most_waiting: Waiters that there can be, of all tenants together.
        is_shared: Whether there are several tenants; one alone may hold all slots.

    Attributes:
        free: Slots that nobody holds.
        waiting: Waiters of all tenants.
    """

    def __init__(self, slots: int, most_waiting: int, *, is_shared: bool) -> None:
        self.free = slots
        self.waiting = 0
        self._slots = slots
        self._most_waiting = most_waiting
        self._is_shared = is_shared
        self._held: dict[bytes, int] = {}  # of those who hold any
        self._queues: dict[bytes, OrderedDict[Waiter, None]] = {}  # of those who wait
        self._by_held = _Ranking(min)
        self._by_waiters = _Ranking(max)

    def try_acquire(self, key: bytes) -> bool:
        """Take a slot for a tenant if there is one for it now."""
        if not self._may_hold_more(self._held.get(key, 0)):
            return False
        self._hold(key, 1)
        return True

    def release(self, key: bytes) -> None:
        """Give a slot of a tenant back, for `next_waiter` to hand on."""
        self._hold(key, -1)

    def enqueue(self, key: bytes, waiter: Waiter) -> Waiter | None:
        """Let a tenant's waiter wait; return who has to leave for it, which may be that very one."""
        gives_way = None
        if self.waiting >= self._most_waiting:
            longest = self._by_waiters.first()
            if longest is None or len(self._queues[longest]) <= len(self._queues.get(key, ())) + 1:
                return waiter
            gives_way = next(reversed(self._queues[longest]))
            self.dequeue(longest, gives_way)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = OrderedDict()
            self._by_held.move(key, None, self._held.get(key, 0))
        queue[waiter] = None
        self.waiting += 1
        self._by_waiters.move(key, len(queue) - 1 or None, len(queue))
        return gives_way

    def dequeue(self, key: bytes, waiter: Waiter) -> bool:
        """Take a waiter out that waits no more; tell whether it was still there."""
        queue = self._queues.get(key)
        if queue is None or waiter not in queue:
            return False
        del queue[waiter]
        self.waiting -= 1
        self._by_waiters.move(key, len(queue) + 1, len(queue) or None)
        if not queue:
            del self._queues[key]
            self._by_held.move(key, self._held.get(key, 0), None)
        return True

    def next_waiter(self) -> Waiter | None:
        """Take a free slot for who is next, and return that waiter; None where nobody may take one."""
        key = self._by_held.first()
        if key is None or not self._may_hold_more(self._held.get(key, 0)):
            return None
        waiter = next(iter(self._queues[key]))
        self.dequeue(key, waiter)
        self._hold(key, 1)
        return waiter

    def is_owed(self, key: bytes) -> bool:
        """Tell whether a tenant holds less than its share, which is the same for all who hold slots or wait."""
        tenants = len(self._held.keys() | self._queues.keys())
        return self._held.get(key, 0) < self._slots // tenants

    def _may_hold_more(self, held: int) -> bool:
        if not self.free:
            return False
        return not held or not self._is_shared or held < RESERVE * (self.free - 1)

    def _hold(self, key: bytes, more: int) -> None:
        before = self._held.get(key, 0)
        self.free -= more
        if before + more:
            self._held[key] = before + more
        else:
            del self._held[key]
        if key in self._queues:
            self._by_held.move(key, before, before + more)
