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


class _Tenant(Generic[Waiter]):
    """Who holds slots or waits for some."""

    __slots__ = ("held", "waiters")

    def __init__(self) -> None:
        self.held = 0
        self.waiters: OrderedDict[Waiter, None] = OrderedDict()


class _Ranking(Generic[Waiter]):
    """Tenants by a number; those with the same one in the order in which they came to it."""

    def __init__(self, best: Callable[[Iterable[int]], int]) -> None:
        self._best = best
        self._ranks: dict[int, OrderedDict[_Tenant[Waiter], None]] = {}

    def add(self, tenant: _Tenant[Waiter], number: int) -> None:
        self._ranks.setdefault(number, OrderedDict())[tenant] = None

    def remove(self, tenant: _Tenant[Waiter], number: int) -> None:
        rank = self._ranks[number]
        del rank[tenant]
        if not rank:
            del self._ranks[number]

    def first(self) -> _Tenant[Waiter] | None:
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
        self._tenants: dict[bytes, _Tenant[Waiter]] = {}
        self._by_held = _Ranking[Waiter](min)
        self._by_waiters = _Ranking[Waiter](max)

    def try_acquire(self, key: bytes) -> bool:
        """Take a slot for a tenant if there is one for it now."""
        tenant = self._tenants.get(key)
        if not self._may_hold_more(tenant.held if tenant else 0):
            return False
        if tenant is None:
            tenant = self._tenants[key] = _Tenant()
        self._hold(tenant, 1)
        return True

    def release(self, key: bytes) -> None:
        """Give a slot of a tenant back, for `next_waiter` to hand on."""
        tenant = self._tenants[key]
        self._hold(tenant, -1)
        self._forget_if_gone(key, tenant)

    def enqueue(self, key: bytes, waiter: Waiter) -> Waiter | None:
        """Let a tenant's waiter wait; return who has to leave for it, which may be that very one."""
        tenant = self._tenants.get(key) or _Tenant()
        gives_way = None
        if self.waiting >= self._most_waiting:
            longest = self._by_waiters.first()
            if longest is None or len(longest.waiters) <= len(tenant.waiters) + 1:
                return waiter
            gives_way = next(reversed(longest.waiters))
            self._take_out(longest, gives_way)
        self._tenants[key] = tenant
        self._put_in(tenant, waiter)
        return gives_way

    def dequeue(self, key: bytes, waiter: Waiter) -> bool:
        """Take a waiter out that waits no more; tell whether it was still there."""
        tenant = self._tenants.get(key)
        if tenant is None or waiter not in tenant.waiters:
            return False
        self._take_out(tenant, waiter)
        self._forget_if_gone(key, tenant)
        return True

    def next_waiter(self) -> Waiter | None:
        """Take a free slot for who is next, and return that waiter; None where nobody may take one."""
        tenant = self._by_held.first()
        if tenant is None or not self._may_hold_more(tenant.held):
            return None
        waiter = next(iter(tenant.waiters))
        self._take_out(tenant, waiter)
        self._hold(tenant, 1)
        return waiter

    def is_owed(self, key: bytes) -> bool:
        """Tell whether a tenant holds less than its share, which is the same for all who hold slots or wait."""
        return self._tenants[key].held < self._slots // len(self._tenants)

    def _may_hold_more(self, held: int) -> bool:
        if not self.free:
            return False
        return not held or not self._is_shared or held < RESERVE * (self.free - 1)

    def _hold(self, tenant: _Tenant[Waiter], more: int) -> None:
        if tenant.waiters:
            self._by_held.remove(tenant, tenant.held)
        tenant.held += more
        self.free -= more
        if tenant.waiters:
            self._by_held.add(tenant, tenant.held)

    def _put_in(self, tenant: _Tenant[Waiter], waiter: Waiter) -> None:
        if tenant.waiters:
            self._by_waiters.remove(tenant, len(tenant.waiters))
        else:
            self._by_held.add(tenant, tenant.held)
        tenant.waiters[waiter] = None
        self._by_waiters.add(tenant, len(tenant.waiters))
        self.waiting += 1

    def _take_out(self, tenant: _Tenant[Waiter], waiter: Waiter) -> None:
        self._by_waiters.remove(tenant, len(tenant.waiters))
        del tenant.waiters[waiter]
        if tenant.waiters:
            self._by_waiters.add(tenant, len(tenant.waiters))
        else:
            self._by_held.remove(tenant, tenant.held)
        self.waiting -= 1

    def _forget_if_gone(self, key: bytes, tenant: _Tenant[Waiter]) -> None:
        if not tenant.held and not tenant.waiters:
            del self._tenants[key]
