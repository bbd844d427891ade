"""Looks at files now and then, so that a change is noticed although nobody connects."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from gateway.files.reloading import Look, Outcome

# Seconds from one look to the next.
LOOK_EVERY = 10.0

_log = logging.getLogger(__name__)


class HasFiles(Protocol):
    """A part of the gateway that is made of files."""

    def look_at_files(self) -> tuple[Look, ...]:
        """Read files again that changed, and tell what came of it; called from another thread."""
        ...


class FileWatch:
    """Has parts of the gateway look at their files, every few seconds and when it is told to.

    Attributes:
        parts: Which; those that were unusable are tried again.
    """

    def __init__(self) -> None:
        self.parts: Sequence[HasFiles] = ()
        # What one look has read must not be put to use behind what a later one has.
        self._looking = asyncio.Lock()

    async def look(self) -> list[Look]:
        """Have all files looked at now; return what came of it."""
        looks: list[Look] = []
        async with self._looking:
            for part in self.parts:
                try:
                    looks += await asyncio.to_thread(part.look_at_files)
                except Exception:  # noqa: BLE001 - without a next look certificates would run out
                    _log.exception("files were not looked at")
        return looks

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look()


def summary(looks: Sequence[Look]) -> str:
    """Return what came of looks at all files, in a line for operators."""
    found = {outcome: [look.what for look in looks if look.outcome is outcome] for outcome in Outcome}
    parts = [f"{outcome}: {', '.join(names)}" for outcome, names in found.items() if names]
    if needing := needs_restart(looks):
        parts.append(f"needs a restart: {', '.join(needing)}")
    return "; ".join(parts or ["there are no files"])


def needs_restart(looks: Sequence[Look]) -> tuple[str, ...]:
    """Return the settings that are other ones by now, and are read at the start only."""
    return tuple(name for look in looks for name in look.needs_restart)
