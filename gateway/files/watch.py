"""Looks at files now and then, so that a change is noticed although nobody connects."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

# Seconds from one look to the next.
LOOK_EVERY = 10.0

_log = logging.getLogger(__name__)


class HasFiles(Protocol):
    """A part of the gateway that is made of files."""

    def look_at_files(self) -> None:
        """Read files again that changed; called from another thread."""
        ...


class FileWatch:
    """Has parts of the gateway look at their files, every few seconds and when it is told to.

    Attributes:
        parts: Which; those that were unusable are tried again.
    """

    def __init__(self) -> None:
        self.parts: Sequence[HasFiles] = ()
        self._look_now = asyncio.Event()

    def look_now(self) -> None:
        """Have all files looked at now."""
        self._look_now.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._look_now.wait()
            self._look_now.clear()
            for part in self.parts:
                try:
                    await asyncio.to_thread(part.look_at_files)
                except Exception:  # noqa: BLE001 - without a next look certificates would run out
                    _log.exception("files were not looked at")
