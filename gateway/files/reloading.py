"""Values made of files, made again when the files change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from gateway.metrics import Metrics

Value = TypeVar("Value")
_Version: TypeAlias = tuple[tuple[int, int, int, int], ...]

_log = logging.getLogger(__name__)


class BadFileError(Exception):
    """A file that cannot be used.

    Attributes:
        path: Which one.
        problem: What is wrong with it, in words that show nothing of what it holds.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


def read_file(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        BadFileError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadFileError(path, error.strerror or "cannot be read") from error


class Reloading(Generic[Value]):
    """A value made of files. Whoever asks for it gets it made of the files as they are, for they are looked at.

    Secret mounts swap a symbolic link, so it is the files behind the paths that are compared. Files that became
    unusable leave the last good value in use: that is logged and counted once, not for everyone who asks. May be used
    by several threads.

    Args:
        name: What the value is, for log lines and metrics.
        paths: The files.
        load: Makes the value; raises BadFileError where it cannot.
        metrics: Where reloads are counted.

    Raises:
        BadFileError: There is no first value.
    """

    def __init__(self, name: str, paths: tuple[Path, ...], load: Callable[[], Value], metrics: Metrics) -> None:
        self._name = name
        self._paths = paths
        self._load = load
        self._metrics = metrics
        self._lock = threading.Lock()
        self._seen = self._version()
        self._value = load()

    def current(self) -> Value:
        """Return the value."""
        # Microseconds for local files: cheaper than handing it to a thread.
        with self._lock:
            version = self._version()
            if version != self._seen:
                self._seen = version
                self._reload()
            return self._value

    def _version(self) -> _Version | None:
        try:
            stats = [path.stat() for path in self._paths]
        except OSError:
            return None
        # Not the time of the last writing: copies keep it, and it does not tell of permissions.
        return tuple((stat.st_dev, stat.st_ino, stat.st_ctime_ns, stat.st_size) for stat in stats)

    def _reload(self) -> None:
        try:
            self._value = self._load()
        except BadFileError as error:
            _log.error("%s: %s; the last good one stays in use", self._name, error)
            self._metrics.reloads.labels(self._name, "error").inc()
        else:
            _log.info("%s: read again", self._name)
            self._metrics.reloads.labels(self._name, "ok").inc()
