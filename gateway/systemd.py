"""Tells systemd when the service serves, reloads, drains and lives: `Type=notify`, `notify-reload`, `WatchdogSec=`.

Each message is a datagram to the socket that NOTIFY_SOCKET names, as `man sd_notify` says, and that is all there is to
it: a library in Python would wrap the same three lines, and the others need a compiler.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time

# How often the watchdog is fed within its time.
PER_INTERVAL = 3
# Seconds that a message may wait for systemd to take it: the event loop waits too.
SEND_TIMEOUT = 1.0

_log = logging.getLogger(__name__)


class ServiceManager:
    """Tells systemd; where it did not start this process, nobody is told.

    Its variables are taken out of the environment: processes that are started from here are not the service.

    Attributes:
        feeds_watchdog: Whether systemd restarts a service that does not tell that it lives.
    """

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        given, pid = os.environ.pop("WATCHDOG_USEC", ""), os.environ.pop("WATCHDOG_PID", "")
        microseconds = int(given) if given.isdecimal() else 0
        self.feeds_watchdog = microseconds > 0 and pid in ("", str(os.getpid()))
        self._pause = microseconds / 1e6 / PER_INTERVAL

    def ready(self) -> None:
        """Tell that the service serves, or has read its files again."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Tell that it reads its files again; `ready` follows."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Tell that it drains."""
        self._tell("STOPPING=1")

    async def feed_watchdog(self) -> None:
        """Tell that the event loop turns, again and again, until cancelled."""
        while self.feeds_watchdog:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self._pause)

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
                end.settimeout(SEND_TIMEOUT)
                end.sendto(message.encode(), self._address)
        except OSError as error:
            _log.warning("systemd was not told %s: %s", message.partition("=")[0], error)
