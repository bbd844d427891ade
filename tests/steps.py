"""Runs what the gateway runs on its event loop, without one."""

from __future__ import annotations

from typing import TypeVar

from gateway.core.convert import Steps

Result = TypeVar("Result")


def run(steps: Steps[Result]) -> tuple[Result, int]:
    """Run a conversion to its end; return its result and how often it let others run."""
    breaths = 0
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value, breaths
        breaths += 1
