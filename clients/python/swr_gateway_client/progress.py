"""How far a stream came, and what may still be done for it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from swr_gateway_client.call_error import CallError
from swr_gateway_client.v1 import repos_pb2

# Resumes in a row that lead no further.
MAX_RESUMES = 3

# Seconds: who is asked to wait longer wants to know rather than to wait.
MAX_PATIENCE = 30.0

# Seconds that are as good as no limit. gRPC takes a deadline behind the year 2262, or at no time, for one that passed.
LONGEST = 1e9

# Seconds before a resume where the server names none.
MIN_WAIT = 0.1
MAX_WAIT = 1.0


class Progress:
    """A stream's position, its deadline and its resumes.

    Args:
        request: What to ask for; its `start_offset` is moved on.
        timeout: Seconds from now for all calls and the waits between them; None sets no deadline.
        clock: Returns the time in seconds.
    """

    def __init__(
        self, request: repos_pb2.StreamReposRequest, timeout: float | None, clock: Callable[[], float]
    ) -> None:
        self.request = request
        self._clock = clock
        self._deadline = math.inf if timeout is None else clock() + timeout
        self._resumes = 0

    def time_left(self) -> float | None:
        """Return the seconds until the deadline; None where there is none."""
        return None if self._deadline == math.inf else min(self._deadline - self._clock(), LONGEST)

    def advance(self, message: repos_pb2.StreamReposResponse) -> None:
        """Move on behind a message that arrived."""
        # A server that sends what leads no further, and then breaks, must not keep its caller for ever.
        if message.next_offset > self.request.start_offset:
            self.request.start_offset, self._resumes = message.next_offset, 0

    def wait_behind(self, failure: CallError) -> float | None:
        """Count one more resume; return the seconds to wait before it. None means that there is none."""
        wait = wait_before_resume(failure, self._resumes)
        self._resumes += 1
        return wait if self._clock() + wait < self._deadline else None


def wait_before_resume(failure: CallError, resumes: int) -> float:
    """Return the seconds to wait before a stream is opened again; infinity means that it is not.

    Args:
        failure: How it ended.
        resumes: How often it was opened again since it last led further.
    """
    if not failure.may_retry or resumes >= MAX_RESUMES:
        return math.inf
    if failure.retry_delay is not None:
        return failure.retry_delay if failure.retry_delay <= MAX_PATIENCE else math.inf
    return random.uniform(MIN_WAIT, min(MIN_WAIT * 3 ** (resumes + 1), MAX_WAIT))
