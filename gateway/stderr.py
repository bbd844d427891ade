"""Standard error that nobody waits for: a queue, and one thread that writes what is in it.

Whoever reads a log may stand still: a collector that hangs, a terminal that is held. A write would wait for it then,
and with it the event loop, calls, health checks and the end of the process.

`logging.handlers.QueueListener` is not enough: it waits for its thread without a limit, and not only log lines are
written to standard error, but warnings and tracebacks too.
"""

from __future__ import annotations

import atexit
import io
import logging
import os
import select
import sys
import threading
from queue import SimpleQueue
from typing import TextIO

# Texts that wait to be written; one of `logging` is a line.
MAX_WAITING = 4096
# Seconds in which what waits is written at the end of the process.
EXIT_WAIT = 2.0

_log = logging.getLogger(__name__)


class QueuedStream(io.TextIOBase):
    """A text stream whose `write` never waits: what does not fit into the queue is dropped and counted.

    Once somebody reads again, a log line says how many were dropped.

    Args:
        stream: What it is written to, by its descriptor: a lock of Python's would be held by a write that stands still.

    Attributes:
        dropped: Texts that were dropped, also because the stream took none.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        # A queue that a finalizer may write to in the middle of a write, as one with a lock may not.
        self._waiting: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self.dropped = 0
        threading.Thread(target=self._work, name="stderr", daemon=True).start()

    @property
    def encoding(self) -> str:  # type: ignore[override] # an attribute in the stubs
        """How texts become bytes."""
        return self._stream.encoding

    def write(self, text: str) -> int:
        """Leave a text to be written."""
        encoded = text.encode(self.encoding, "backslashreplace")
        if self._waiting.qsize() < MAX_WAITING:
            self._waiting.put(encoded)
        else:
            self.dropped += 1
        return len(text)

    def flush(self) -> None:
        """Wait for nothing."""

    def fileno(self) -> int:
        """Return the stream's descriptor."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Tell whether it is a terminal."""
        return self._stream.isatty()

    def wait(self, seconds: float) -> bool:
        """Wait until all that was written before is out, for so many seconds at the most; tell whether it is."""
        out = threading.Event()
        self._waiting.put(out)
        return out.wait(seconds)

    def _work(self) -> None:
        told, takes = 0, True
        while True:
            waiting = self._waiting.get()
            if isinstance(waiting, bytes):
                takes = self._write(waiting)
                self.dropped += not takes
            if takes and self.dropped > told and self._waiting.empty():
                count, told = self.dropped - told, self.dropped
                _log.error("%d log lines were dropped, because nobody read standard error", count)
            if isinstance(waiting, threading.Event):
                waiting.set()

    def _write(self, left: bytes) -> bool:
        """Write a text; tell whether the stream took it."""
        while left:
            try:
                left = left[os.write(self.fileno(), left) :]
            except BlockingIOError:  # whoever shares the stream has made it so
                ready = select.poll()
                ready.register(self.fileno(), select.POLLOUT)
                ready.poll()
            except OSError:
                return False
        return True


def queue_stderr() -> None:
    """Have all that Python writes to standard error queued, until the process ends.

    Its end waits for what is still in the queue, but not for ever.
    """
    if not isinstance(sys.stderr, io.TextIOWrapper):  # there is none, or it is somebody's own
        return
    stream = QueuedStream(sys.stderr)

    def end() -> None:
        if stream.wait(EXIT_WAIT):
            sys.stderr = sys.__stderr__

    atexit.register(end)
    sys.stderr = stream


def dropped_lines() -> int:
    """Return how many lines of this process were dropped."""
    return sys.stderr.dropped if isinstance(sys.stderr, QueuedStream) else 0
