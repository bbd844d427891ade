"""What a call's time went to, and how many requests it took: for its record in the log."""

from __future__ import annotations

import time
from types import TracebackType


class Stopwatch:
    """Measures one kind of work, as a context manager that may be entered again and again, not twice at once.

    Attributes:
        lap: Seconds of the latest time that it was entered.
    """

    __slots__ = ("_since", "_total", "lap")

    def __init__(self) -> None:
        self.lap = self._total = 0.0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """What was measured so far, with what is going on."""
        return self._total if self._since is None else self._total + time.perf_counter() - self._since

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._since is not None
        self.lap = time.perf_counter() - self._since
        self._total, self._since = self._total + self.lap, None

    def add(self, seconds: float) -> None:
        """Add what was measured elsewhere."""
        self._total += seconds


class Timings:
    """What work at the upstream has taken so far.

    Attributes:
        queued: Time of waiting for a permit.
        fetching: Time of requests.
        converting: Time of the processor's for what came back.
        attempts: Requests that were sent.
        status: HTTP status of the last answer; 0 where none came.
    """

    __slots__ = ("attempts", "converting", "fetching", "queued", "status")

    def __init__(self) -> None:
        self.queued, self.fetching, self.converting = Stopwatch(), Stopwatch(), Stopwatch()
        self.attempts = 0
        self.status = 0

    def add(self, other: Timings) -> None:
        """Add what other work has taken."""
        self.queued.add(other.queued.seconds)
        self.fetching.add(other.fetching.seconds)
        self.converting.add(other.converting.seconds)
        self.attempts += other.attempts
        self.status = other.status or self.status
