"""The circuits of an upstream that several tenants share: one for each of them, and one for all.

- A tenant's own failures open the circuit of that tenant alone (`Tenant.breaker`).
- The circuit for all opens where two tenants and more fail, and too much fails in all. One tenant's failures count
  there for half of what opens it at the most.
- Open, it still lets those through whose last request was answered, until one of theirs fails. Of those who have not
  failed of late, one a second may try, and its answer closes the circuit. A tenant that cuts its own try off decides
  nothing, and leaves the next one to others.

So a tenant that is answered is never held up by others, a new one for a second at the most, and an upstream that is
down gets one request a second. With one tenant there is its own circuit, and nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.core import breaker
from gateway.core.breaker import PROBE_TIME, Outcome, Rules, State, Ticket, Window
from gateway.core.tenants import Tenant

_LONG_AGO = float("-inf")


class Pass(NamedTuple):
    """One attempt that was let through.

    Attributes:
        tenant: Whose it is.
        ticket: Of the tenant's own circuit.
        generation: Of the circuit for all.
        is_probe: Whether its answer closes that one.
    """

    tenant: Tenant
    ticket: Ticket
    generation: int
    is_probe: bool


class Circuits:
    """Admits or refuses a tenant's attempts, by its own circuit and by the one for all.

    Times are seconds on any one clock that does not go back.

    Args:
        rules: When a circuit opens.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._most_of_one = rules.least_attempts / 2
        self._window = Window(rules)
        self._is_open = False
        self._generation = 0
        self._recovered_at = _LONG_AGO
        # The last tenant that sent a request, that failed, and that probed; and when any other last sent or failed.
        self._last: Tenant | None = None
        self._last_at = self._others_at = _LONG_AGO
        self._failed: Tenant | None = None
        self._failed_at = self._others_failed_at = _LONG_AGO
        self._prober: Tenant | None = None
        self._probed_at = _LONG_AGO

    def admit(self, tenant: Tenant, now: float) -> Pass | None:
        """Let an attempt through, or return None; each pass must be given back to `settle`."""
        if tenant is not self._last:
            self._last, self._others_at = tenant, self._last_at
        self._last_at = now
        if tenant.breaker.state is State.OPEN:
            tenant.breaker.note_recovery(self._recovered_at)
        ticket = tenant.breaker.admit(now)
        if ticket is None:
            return None
        is_probe = self._is_open and not self._is_answered(tenant, now)
        if is_probe:
            if not self._may_probe(tenant, now):
                tenant.breaker.settle(ticket, Outcome.NOTHING, now)
                return None
            self._prober, self._probed_at = tenant, now
        return Pass(tenant, ticket, self._generation, is_probe)

    def settle(self, passed: Pass, outcome: Outcome, now: float) -> None:
        """Learn how an attempt ended. One that began in an earlier state changes nothing."""
        tenant, ticket = passed.tenant, passed.ticket
        failed = outcome is Outcome.UNAVAILABLE
        is_news = not failed or (tenant.breaker.is_current(ticket) and tenant.breaker.failures(now) < self._most_of_one)
        tenant.breaker.settle(ticket, outcome, now)
        if outcome is not Outcome.NOTHING:
            tenant.outcome, tenant.ended_at = outcome, now
        if passed.generation != self._generation:
            return
        if passed.is_probe:
            self._settle_probe(tenant, outcome, now)
        elif not self._is_open and is_news and outcome is not Outcome.NOTHING:
            self._count(tenant, failed, now)

    def remaining(self, tenant: Tenant, now: float) -> float:
        """Return the seconds after which an attempt of a tenant may be let through."""
        own = tenant.breaker.remaining(now)
        return max(own, PROBE_TIME, self._rested_at(tenant) - now) if self._is_open else own

    def state_at(self, now: float) -> State:
        """Return the state of the circuit for all, or of the only tenant that there is."""
        if self._is_open:
            return State.OPEN
        is_alone = self._last is not None and now >= self._others_at + self._rules.window
        return self._last.breaker.state_at(now) if self._last and is_alone else State.CLOSED

    def _is_answered(self, tenant: Tenant, now: float) -> bool:
        return tenant.outcome is Outcome.ANSWERED and now < tenant.ended_at + self._rules.window

    def _rested_at(self, tenant: Tenant) -> float:
        """Return when a tenant that failed may probe."""
        return tenant.ended_at + breaker.FIRST_COOL_DOWN if tenant.outcome is Outcome.UNAVAILABLE else _LONG_AGO

    def _may_probe(self, tenant: Tenant, now: float) -> bool:
        pause = 2 * PROBE_TIME if tenant is self._prober else PROBE_TIME
        return now >= max(self._probed_at + pause, self._rested_at(tenant))

    def _settle_probe(self, tenant: Tenant, outcome: Outcome, now: float) -> None:
        match outcome:
            case Outcome.ANSWERED:
                self._recovered_at = now
                self._change(is_open=False)
            case Outcome.NOTHING if tenant is self._prober:
                self._probed_at = now - PROBE_TIME  # others need not wait

    def _count(self, tenant: Tenant, failed: bool, now: float) -> None:
        self._window.add(failed, now)
        if not failed:
            return
        if tenant is not self._failed:
            self._failed, self._others_failed_at = tenant, self._failed_at
        self._failed_at = now
        if self._window.is_bad() and now < self._others_failed_at + self._rules.window:
            self._change(is_open=True)

    def _change(self, *, is_open: bool) -> None:
        self._is_open = is_open
        self._generation += 1
        self._window.clear()
