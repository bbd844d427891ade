"""Values made of files, made again when the files change."""

from __future__ import annotations

import logging
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from gateway.metrics import Metrics

Value = TypeVar("Value")
_Version: TypeAlias = tuple[tuple[int, int, int, int], ...]

# Seconds after which files that could not be used are tried again although they did not change.
RETRY_AFTER = 10.0
# Certificates and tokens are a few KiB; bundles of authorities are some hundred.
MOST_BYTES = 4 * 2**20

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
        BadFileError: It cannot be read, or is no regular file of a sensible size: a pipe would be waited for.
    """
    try:
        found = path.stat()
        if stat.S_ISREG(found.st_mode) and found.st_size <= MOST_BYTES:
            return path.read_bytes()
    except OSError as error:
        raise BadFileError(path, error.strerror or "cannot be read") from error
    raise BadFileError(path, "is not a regular file of 4 MiB at most")


class Reloading(Generic[Value]):
    """A value made of files. Whoever asks for it gets it made of the files as they are, for they are looked at.

    Secret mounts swap a symbolic link, so it is the files behind the paths that are compared. Files that became
    unusable leave the last good value in use: that is logged and counted once, not for everyone who asks. They are
    tried again after a while, for not every fault is in the file. May be used by several threads.

    Args:
        name: What the value is, for log lines and metrics, such as `server_tls`.
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
        self._reloaded = {result: metrics.reloads.labels(name, result) for result in ("ok", "error")}
        self._stale = metrics.files_stale.labels(name)
        self._lock = threading.Lock()
        self._problem = ""
        self._try_again_at = 0.0
        self._seen = self._version()
        self._value = load()

    def current(self) -> Value:
        """Return the value."""
        # Microseconds for local files: cheaper than handing it to a thread.
        with self._lock:
            version = self._version()
            changed = version != self._seen
            if changed or (self._problem and time.monotonic() >= self._try_again_at):
                self._seen = version
                self._reload(changed=changed)
            return self._value

    def _version(self) -> _Version | None:
        try:
            found = [path.stat() for path in self._paths]
        except OSError:
            return None
        # Not the time of the last writing: copies keep it, and it does not tell of permissions.
        return tuple((one.st_dev, one.st_ino, one.st_ctime_ns, one.st_size) for one in found)

    def _reload(self, *, changed: bool) -> None:
        try:
            self._value = self._load()
        except BadFileError as error:
            self._try_again_at = time.monotonic() + RETRY_AFTER
            self._stale.set(1)
            if changed or str(error) != self._problem:
                self._problem = str(error)
                _log.error("%s: %s; the last good one stays in use", self._name, error)
                self._reloaded["error"].inc()
        else:
            self._problem = ""
            self._stale.set(0)
            _log.info("%s: read again", self._name)
            self._reloaded["ok"].inc()
