"""A circuit breaker: it stops requests to an upstream that keeps failing, and finds out when it has recovered."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum

# Seconds for which it stays open: doubled each time that the probe fails, up to the last. Up to a tenth is added at
# random, so that gateways which opened together do not probe together.
FIRST_COOL_DOWN = 5.0
LAST_COOL_DOWN = 60.0
SPREAD = 0.1
PROBE_TIME = 1.0

# In how many steps attempts are forgotten.
STEPS = 10


class State(Enum):
    """What the breaker does with attempts: their names in metrics."""

    CLOSED = "closed"  # lets all of them through
    OPEN = "open"  # lets none through
    HALF_OPEN = "half-open"  # lets one through, the probe


class Outcome(Enum):
    """What an attempt says about the upstream."""

    ANSWERED = "answered"
    UNAVAILABLE = "unavailable"
    NOTHING = "nothing"  # cut off by the caller, or by ourselves


@dataclass(frozen=True, slots=True)
class Rules:
    """When a circuit opens.

    Attributes:
        window: How far back attempts are looked at, in seconds.
        least_attempts: Attempts within the window without which it stays closed; infinite where it never opens.
        ratio: Part of them, from 0 to 1, that must have failed.
    """

    window: float
    least_attempts: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Ticket:
    """One attempt that was let through, of one generation: the breaker's states are numbered."""

    generation: int


@dataclass(slots=True)
class _Step:
    began: float
    attempts: int = 0
    failures: int = 0


class Window:
    """Attempts that ended of late, and how many of them failed. Times are seconds on a clock that does not go back."""

    __slots__ = ("_attempts", "_failures", "_rules", "_steps")

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._steps: list[_Step] = []
        self._attempts = 0
        self._failures = 0

    def add(self, failed: bool, now: float) -> None:
        """Count an attempt."""
        window, steps = self._rules.window, self._steps
        if steps and steps[0].began <= now - window:
            self._forget(now)
        if not steps or steps[-1].began <= now - window / STEPS:
            steps.append(_Step(now))
        steps[-1].attempts += 1
        self._attempts += 1
        if failed:
            steps[-1].failures += 1
            self._failures += 1

    def failures(self, now: float) -> int:
        """Return how many failed."""
        self._forget(now)
        return self._failures

    def is_bad(self) -> bool:
        """Tell whether too many failed, as of the last one that was counted."""
        return self._attempts >= self._rules.least_attempts and self._failures >= self._rules.ratio * self._attempts

    def clear(self) -> None:
        """Forget all of them."""
        self._steps.clear()
        self._attempts = self._failures = 0

    def _forget(self, now: float) -> None:
        while self._steps and self._steps[0].began <= now - self._rules.window:
            gone = self._steps.pop(0)
            self._attempts -= gone.attempts
            self._failures -= gone.failures


class Breaker:
    """Admits or refuses attempts by how recent ones ended. Times are seconds on any one clock that does not go back.

    Args:
        rules: When it opens.

    Attributes:
        state: As of the last attempt.
    """

    __slots__ = ("_cool_down", "_generation", "_opened_at", "_opened_until", "_probing", "_window", "state")

    def __init__(self, rules: Rules) -> None:
        self.state = State.CLOSED
        self._generation = 0
        self._window = Window(rules)
        self._opened_at = self._opened_until = 0.0
        self._cool_down = FIRST_COOL_DOWN
        self._probing = False

    def admit(self, now: float) -> Ticket | None:
        """Let an attempt through, or return None; each ticket must be given back to `settle`."""
        if self.state is State.OPEN and now >= self._opened_until:
            self._enter(State.HALF_OPEN)
        match self.state:
            case State.OPEN:
                return None
            case State.HALF_OPEN:
                if self._probing:
                    return None
                self._probing = True
        return Ticket(self._generation)

    def remaining(self, now: float) -> float:
        """Return the seconds after which an attempt may be let through; a probe under way is given a second."""
        return max(self._opened_until - now, PROBE_TIME if self._probing else 0.0)

    def state_at(self, now: float) -> State:
        """Return what the next attempt would meet."""
        return State.HALF_OPEN if self.state is State.OPEN and now >= self._opened_until else self.state

    def is_current(self, ticket: Ticket) -> bool:
        """Tell whether an attempt began in the present state: others change nothing."""
        return ticket.generation == self._generation

    def failures(self, now: float) -> int:
        """Return how many failures are counted while it is closed."""
        return self._window.failures(now)

    def settle(self, ticket: Ticket, outcome: Outcome, now: float) -> None:
        """Learn how an attempt ended. One that began in an earlier state changes nothing."""
        if not self.is_current(ticket):
            return
        if self.state is State.HALF_OPEN:
            self._settle_probe(outcome, now)
        elif outcome is not Outcome.NOTHING:
            failed = outcome is Outcome.UNAVAILABLE
            self._window.add(failed, now)
            if failed and self._window.is_bad():
                self._open(now)

    def note_recovery(self, at: float) -> None:
        """Wait no longer where it opened before a time at which the upstream was found to have recovered."""
        if self._opened_at < at:
            self._opened_until = min(self._opened_until, at)

    def _settle_probe(self, outcome: Outcome, now: float) -> None:
        self._probing = False
        match outcome:
            case Outcome.ANSWERED:
                self._cool_down = FIRST_COOL_DOWN
                self._enter(State.CLOSED)
            case Outcome.UNAVAILABLE:
                self._cool_down = min(self._cool_down * 2, LAST_COOL_DOWN)
                self._open(now)

    def _open(self, now: float) -> None:
        self._enter(State.OPEN)
        self._opened_at = now
        self._opened_until = now + self._cool_down * random.uniform(1.0, 1.0 + SPREAD)

    def _enter(self, state: State) -> None:
        self.state = state
        self._generation += 1
        self._window.clear()
        self._probing = False
