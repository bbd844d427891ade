"""Kills workers whose event loop stands still; the supervisor starts others in their place."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress

from gateway.telemetry.loop_monitor import BEAT
from gateway.workers.process import Worker

# Seconds without a sign of life after which a worker that had begun to serve is killed. Twice the time after which
# /livez tells of it: it may still get better, and a probe that restarts all of them takes longer.
HANGS_AFTER = 20.0
# Seconds in which it may write down where it stands.
LAST_WORDS = 1.0

# Has a worker write what each of its threads does to standard error, whatever its event loop does.
WHERE = signal.SIGUSR1

_log = logging.getLogger(__name__)


async def kill_hanging(workers: Callable[[], Iterable[Worker]]) -> None:
    """Kill workers that hang, until cancelled.

    What counts is not time but beats of this event loop: where the whole machine stood still for a while, or all
    processes did, this loop stood still as well, and has missed no more than one beat of anybody's.

    Args:
        workers: Returns those that there are.
    """
    while True:
        await asyncio.sleep(BEAT)
        for worker in workers():
            worker.missed_beats += 1
            if worker.started.is_set() and worker.missed_beats * BEAT >= HANGS_AFTER:
                await _kill(worker)


async def _kill(worker: Worker) -> None:
    _log.error("worker %d hangs: its event loop has not turned for %.0f s; it is killed", worker.number, HANGS_AFTER)
    worker.missed_beats = 0
    with suppress(ProcessLookupError):
        worker.process.send_signal(WHERE)
        await asyncio.sleep(LAST_WORDS)
        worker.process.kill()
