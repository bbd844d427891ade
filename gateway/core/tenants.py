"""What is known of tenants: each is who calls with one credential, and is known by a hash of it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from gateway.core.breaker import Breaker, Outcome, Rules, State
from gateway.core.retry import RetryBudget

# Those who called last are known, at 1.5 KiB each and less; of others no more is than of newcomers.
MAX_TENANTS = 10_000


@dataclass(slots=True, eq=False)
class Tenant:
    """Who calls with one credential.

    Attributes:
        key: 16 bytes or fewer that say nothing of the credential.
        breaker: The circuit that its own requests open.
        budget: How many of its requests are sent again.
        outcome: How the last of its requests ended that says something of the upstream.
        ended_at: When.
    """

    key: bytes
    breaker: Breaker
    budget: RetryBudget
    outcome: Outcome = Outcome.NOTHING
    ended_at: float = 0.0


class Tenants:
    """Knows tenants; the least recently seen are forgotten first.

    Args:
        rules: When the circuit of one opens.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._known: OrderedDict[bytes, Tenant] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: bytes, now: float) -> Tenant:
        """Return the tenant with a key."""
        tenant = self._known.get(key)
        if tenant is not None:
            self._known.move_to_end(key)
            return tenant
        tenant = self._known[key] = Tenant(key, Breaker(self._rules), RetryBudget(now))
        if len(self._known) > MAX_TENANTS:
            self._known.popitem(last=False)
        return tenant

    def left_alone(self, now: float) -> int:
        """Return how many have a circuit that is open; may be asked for by another thread."""
        return sum(tenant.breaker.state_at(now) is State.OPEN for tenant in list(self._known.values()))
