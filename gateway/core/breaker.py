"""A circuit breaker: it leaves an upstream alone that fails, and finds out when it has recovered."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from enum import Enum

# How far back attempts are looked at, in seconds, and in how many steps they are forgotten.
WINDOW = 10.0
STEPS = 10
# Of that many attempts and more, so many must have failed.
LEAST_ATTEMPTS = 20
FAILURE_RATIO = 0.5
# Seconds for which it stays open: doubled each time that the probe fails, up to the last. Up to a tenth is added at
# random, so that gateways which opened together do not probe together.
FIRST_COOL_DOWN = 5.0
LAST_COOL_DOWN = 60.0
SPREAD = 0.1
PROBE_TIME = 1.0


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
class Ticket:
    """One attempt that was let through, of one generation: the breaker's states are numbered."""

    generation: int


@dataclass(slots=True)
class _Step:
    began: float
    attempts: int = 0
    failures: int = 0


class Breaker:
    """Counts attempts, not calls. Times are seconds on any one clock that does not go back.

    Attributes:
        state: As of the last attempt.
    """

    def __init__(self) -> None:
        self.state = State.CLOSED
        self._generation = 0
        self._steps: deque[_Step] = deque()
        self._opened_until = 0.0
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

    def settle(self, ticket: Ticket, outcome: Outcome, now: float) -> None:
        """Learn how an attempt ended. One that began in an earlier state changes nothing."""
        if ticket.generation != self._generation:
            return
        if self.state is State.HALF_OPEN:
            self._settle_probe(outcome, now)
        elif outcome is not Outcome.NOTHING:
            self._count(outcome, now)

    def _settle_probe(self, outcome: Outcome, now: float) -> None:
        self._probing = False
        match outcome:
            case Outcome.ANSWERED:
                self._cool_down = FIRST_COOL_DOWN
                self._enter(State.CLOSED)
            case Outcome.UNAVAILABLE:
                self._cool_down = min(self._cool_down * 2, LAST_COOL_DOWN)
                self._open(now)

    def _count(self, outcome: Outcome, now: float) -> None:
        while self._steps and self._steps[0].began <= now - WINDOW:
            self._steps.popleft()
        if not self._steps or self._steps[-1].began <= now - WINDOW / STEPS:
            self._steps.append(_Step(now))
        step = self._steps[-1]
        step.attempts += 1
        step.failures += outcome is Outcome.UNAVAILABLE
        attempts = sum(step.attempts for step in self._steps)
        failures = sum(step.failures for step in self._steps)
        if outcome is Outcome.UNAVAILABLE and attempts >= LEAST_ATTEMPTS and failures >= FAILURE_RATIO * attempts:
            self._open(now)

    def _open(self, now: float) -> None:
        self._enter(State.OPEN)
        self._opened_until = now + self._cool_down * random.uniform(1.0, 1.0 + SPREAD)

    def _enter(self, state: State) -> None:
        self.state = state
        self._generation += 1
        self._steps.clear()
        self._probing = False
