"""The metrics of all workers, read as those of one gateway."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.multiprocess import MultiProcessCollector


class WorkersCollector(MultiProcessCollector):
    """Reads what workers count into the files of a folder.

    A file that a worker has just made is empty, and the library stumbles over that.
    """

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all workers, those that have ended included."""
        files = [str(path) for path in Path(self._path).glob("*.db") if _holds_something(path)]
        metrics: Iterable[Metric] = self.merge(files, accumulate=True)  # type: ignore[no-untyped-call] # untyped there
        return metrics


def _holds_something(path: Path) -> bool:
    with suppress(OSError):
        return path.stat().st_size > 0
    return False
