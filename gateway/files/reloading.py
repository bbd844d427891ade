"""Values made of files, made again when the files change."""

from __future__ import annotations

import logging
import stat
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from gateway.metrics import Metrics
from gateway.start_errors import BadFileError

Value = TypeVar("Value")
_Version: TypeAlias = tuple[tuple[int, int, int, int], ...]

# Seconds after which files that could not be used are tried again although they did not change.
RETRY_AFTER = 10.0
# Seconds from one look at files to the next, and for which whoever asks waits for one: an event loop does.
PAUSE = 0.1
PATIENCE = 0.1
# Seconds after which it is told that a look has not ended.
HANGS_AFTER = 10.0
# Certificates and tokens are a few KiB; bundles of authorities are some hundred.
MAX_BYTES = 4 * 2**20

_log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What came of a look at files, in words for operators."""

    READ_AGAIN = "read again"
    UNCHANGED = "unchanged"
    UNUSABLE = "cannot be used, the last good one stays in use"
    NO_ANSWER = "the file system has not answered yet, what was read before stays in use"

    @property
    def is_good(self) -> bool:
        """Whether what is in use is what the files hold."""
        return self in (Outcome.READ_AGAIN, Outcome.UNCHANGED)


class Look(NamedTuple):
    """A look at the files of one value.

    Attributes:
        what: The value, such as `server_tls`.
        outcome: What came of it.
        needs_restart: Settings that are other ones in these files by now, and are read at the start only.
    """

    what: str
    outcome: Outcome
    needs_restart: tuple[str, ...] = ()


def read_file(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        BadFileError: It cannot be read, or is no regular file of a sensible size: a pipe would be waited for.
    """
    try:
        found = path.stat()
        if stat.S_ISREG(found.st_mode) and found.st_size <= MAX_BYTES:
            return path.read_bytes()
    except OSError as error:
        raise BadFileError(path, error.strerror or "cannot be read") from error
    raise BadFileError(path, "is not a regular file of 4 MiB at most")


class Reloading(Generic[Value]):
    """A value made of files. Whoever asks for it gets it made of the files as they are, for they are looked at.

    Secret mounts swap a symbolic link, so it is the files behind the paths that are compared. Files that became
    unusable leave the last good value in use: that is logged and counted once, not for everyone who asks. They are
    tried again after a while, for not every fault is in the file. A file system that hangs holds nobody up for longer
    than a tenth of a second. May be used by several threads.

    Args:
        name: What the value is, for log lines and metrics, such as `server_tls`.
        paths: The files.
        load: Makes the value; raises BadFileError where it cannot.
        metrics: Where reloads are counted.
        fallback: What to use where the files cannot be used from the beginning.

    Raises:
        BadFileError: There is no first value.
    """

    def __init__(
        self,
        name: str,
        paths: tuple[Path, ...],
        load: Callable[[], Value],
        metrics: Metrics,
        fallback: Value | None = None,
    ) -> None:
        self._name = name
        self._paths = paths
        self._load = load
        self._reloaded = {result: metrics.reloads.labels(name, result) for result in ("ok", "error")}
        self._stale = metrics.files_stale.labels(name)
        self._lock = threading.Lock()
        self._look_began = self._look_again_at = 0.0
        self._looked = threading.Event()
        self._looked.set()
        self._hangs = False
        self._problem = ""
        self._try_again_at = 0.0
        self._seen = self._version()
        try:
            self._value = self._make()
        except BadFileError as error:
            if fallback is None:
                raise
            self._value = fallback
            self._fail(error, changed=True)

    def current(self) -> Value:
        """Return the value; the last one where the file system does not answer."""
        self._await_look()
        return self._value

    def look(self) -> Look:
        """Look at the files, however short a while ago that was done."""
        before = self._value
        # That look may have come before the change; one that hangs is not waited for by everyone who wants another.
        self._looked.wait(max(self._look_began + PATIENCE - time.monotonic(), 0.0))
        with self._lock:
            self._look_again_at = 0.0
        if not self._await_look():
            return Look(self._name, Outcome.NO_ANSWER)
        if self._problem:
            return Look(self._name, Outcome.UNUSABLE)
        return Look(self._name, Outcome.UNCHANGED if self._value is before else Outcome.READ_AGAIN)

    def _await_look(self) -> bool:
        """Look at the files, unless that was just done, and wait for the end of it; tell whether it came in time."""
        now = time.monotonic()
        with self._lock:
            if self._looked.is_set() and now >= self._look_again_at:
                self._begin_look(now)
            looked, left = self._looked, self._look_began + PATIENCE - now
        if looked.wait(max(left, 0.0)):
            return True
        if now >= self._look_began + HANGS_AFTER:
            self._tell_hang()
        return False

    def _begin_look(self, now: float) -> None:
        """Look at the files in a thread of its own: where it hangs nobody waits for it, nor does the process's end."""
        looked = threading.Event()
        thread = threading.Thread(target=self._look, args=(looked,), name=f"look at {self._name}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no room for a thread; the next look may be luckier
            return
        self._looked, self._look_began, self._look_again_at = looked, now, now + PAUSE

    def _look(self, looked: threading.Event) -> None:
        try:
            version = self._version()
            changed = version != self._seen
            if changed or (self._problem and time.monotonic() >= self._try_again_at):
                self._seen = version
                self._reload(changed=changed)
            if self._hangs:
                self._hangs = False
                self._stale.set(1 if self._problem else 0)
                _log.info("%s: the file system answers again", self._name)
        finally:
            looked.set()

    def _tell_hang(self) -> None:
        with self._lock:
            told, self._hangs = self._hangs, True
        if not told:
            self._stale.set(1)
            paths = ", ".join(map(str, self._paths))
            _log.error("%s: the file system of %s does not answer; the last good one stays in use", self._name, paths)

    def _version(self) -> _Version | None:
        try:
            found = [path.stat() for path in self._paths]
        except OSError:
            return None
        # Not the time of the last writing: copies keep it, and it does not tell of permissions.
        return tuple((one.st_dev, one.st_ino, one.st_ctime_ns, one.st_size) for one in found)

    def _make(self) -> Value:
        """Make the value; whatever goes wrong is a BadFileError."""
        try:
            return self._load()
        except BadFileError:
            raise
        except Exception as error:  # libraries that read certificates raise more than they say
            raise BadFileError(self._paths[0], f"cannot be used: {type(error).__name__}") from error

    def _reload(self, *, changed: bool) -> None:
        try:
            self._value = self._make()
        except BadFileError as error:
            self._fail(error, changed=changed)
        else:
            self._problem = ""
            self._stale.set(0)
            _log.info("%s: read again", self._name)
            self._reloaded["ok"].inc()

    def _fail(self, error: BadFileError, *, changed: bool) -> None:
        self._try_again_at = time.monotonic() + RETRY_AFTER
        self._stale.set(1)
        if changed or str(error) != self._problem:
            self._problem = str(error)
            _log.error("%s: %s; the last good one stays in use", self._name, error)
            self._reloaded["error"].inc()
