"""Counts answers whose callers had gone before they were sent, and keeps gRPC from logging them as errors.

gRPC logs each with a traceback, as an error of the servicer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.metrics import Metrics

_LOGGER = "grpc._cython.cygrpc"

_log = logging.getLogger(__name__)


def is_lost(error: BaseException | None) -> bool:
    """Tell whether an exception of gRPC's means that there is nobody any more to send something to."""
    return type(error).__name__ == "ExecuteBatchError"  # which no public module has


@contextmanager
def count_lost_answers(metrics: Metrics) -> Iterator[None]:
    """Count them for the time of a `with` block, and write one line about each at level debug."""

    def is_other(record: logging.LogRecord) -> bool:
        if not record.exc_info or not is_lost(record.exc_info[1]):
            return True
        metrics.answers_lost.inc()
        _log.debug("the caller had gone before its answer was sent: %s", record.getMessage())
        return False

    logger = logging.getLogger(_LOGGER)
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)
