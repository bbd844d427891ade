"""Log lines: one JSON object each for machines, or plain text for people."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import msgspec

_encode = msgspec.json.Encoder().encode


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object: time, level, logger, message and, where there is one, the exception."""

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
        return _encode({key: _readable(text) for key, text in line.items()}).decode()


def _readable(text: str) -> str:
    """File names may hold bytes that are no text."""
    return text.encode(errors="backslashreplace").decode()


def configure_logging(level: str, log_format: str) -> None:
    """Send log lines to standard error.

    Args:
        level: The least severity, such as `info`.
        log_format: `json` or `console`.
    """
    handler = logging.StreamHandler(sys.stderr)
    console = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s")
    handler.setFormatter(JsonFormatter() if log_format == "json" else console)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
