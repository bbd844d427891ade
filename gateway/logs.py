"""Log lines: one JSON object each for machines, or plain text for people."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.core.printable import backslashed, escaped

_encode = msgspec.json.Encoder().encode


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object.

    Its members are time, level, logger, message and, where they are, the exception and the record's own `fields`.

    Args:
        worker: Number of the process, where there are several.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._process = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        readable: dict[str, Any] = {key: _readable(text) for key, text in line.items()}
        return escaped(_encode(readable | self._process | _fields(record)).decode())


class ConsoleFormatter(logging.Formatter):
    """Writes a record as text, with its `fields` behind the message.

    Args:
        worker: Number of the process, where there are several.
    """

    def __init__(self, worker: int | None = None) -> None:
        process = "" if worker is None else f"[{worker}] "
        super().__init__(f"%(asctime)s %(levelname)-7s {process}%(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - its name in the library
        """Return the line without an exception."""
        fields = [f"{name}={value}" for name, value in _fields(record).items()]
        return backslashed(" ".join([super().formatMessage(record), *fields]))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - as above
        """Return the lines of a traceback."""
        return "\n".join(map(backslashed, super().formatException(ei).split("\n")))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = getattr(record, "fields", {})
    return {name: _readable(value) if isinstance(value, str) else value for name, value in fields.items()}


def _readable(text: str) -> str:
    """Return a text without bytes that are no text, which file names may hold."""
    return text.encode(errors="backslashreplace").decode()


def configure_logging(level: str, log_format: str, worker: int | None = None) -> None:
    """Send log lines to standard error.

    Args:
        level: The least severity, such as `info`.
        log_format: `json`, `console`, or `auto`: console where standard error is a terminal.
        worker: Number of the process, where there are several.
    """
    handler = logging.StreamHandler(sys.stderr)
    on_terminal = sys.stderr is not None and sys.stderr.isatty()  # there is none where it was closed
    for_people = log_format == "console" or (log_format == "auto" and on_terminal)
    handler.setFormatter(ConsoleFormatter(worker) if for_people else JsonFormatter(worker))
    logging.getLogger("grpc._cython.cygrpc").setLevel(logging.INFO)  # below it tells of its loop with each call
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
