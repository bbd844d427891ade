"""What keeps workers from starting."""

from __future__ import annotations


class WorkerError(Exception):
    """The first worker did not start; it has said why itself, unless it took too long."""
