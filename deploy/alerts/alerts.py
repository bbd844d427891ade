"""Which alerts fire, and how often."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from deploy.alerts.prometheus import Series, Server
from deploy.alerts.scaling import seconds
from deploy.check.tools import WrongError

PATIENCE = 400.0
LOOK_AGAIN = 0.25
# The answers of a range are so far apart.
STEP = "30s"
# Nobody is told again of what begins again so soon: Alertmanager's `group_interval`.
AGAIN = "5m"


@dataclass(frozen=True)
class Stage:
    """Where one fault is played.

    Attributes:
        server: Scrapes what is played.
        job: As which.
        alerts: That are to fire and to clear: names, or `name:severity`.
        folder: Its own.
        ended: When each job was well again, since 1970: what comes after that is that it is gone.
    """

    server: Server
    job: str
    alerts: tuple[str, ...]
    folder: Path
    ended: dict[str, float]

    async def fires(self, *alerts: str) -> None:
        """Wait until all of its alerts fire, or those named."""
        await self._wait(set(alerts or self.alerts).issubset, "does not fire", alerts)

    async def clears(self, *alerts: str) -> None:
        """Wait until none of its alerts fires, or of those named."""
        await self._wait(set(alerts or self.alerts).isdisjoint, "does not clear", alerts)

    async def firing(self) -> set[str]:
        """Return the alerts that fire now, each by its name and with its severity too."""
        alerts = [one["labels"] for one in await self.server.alerts() if one["state"] == "firing"]
        return {name for labels in alerts if labels["job"] == self.job for name in _names(labels)}

    async def is_seen(self) -> None:
        """Wait until the gateway was scraped."""
        async with asyncio.timeout(PATIENCE):
            # Another process sets no event here.
            while not await self.server.now(f'swr_gateway_ready{{job="{self.job}"}} > 0'):  # noqa: ASYNC110
                await asyncio.sleep(LOOK_AGAIN)

    async def _wait(self, is_so: Callable[[set[str]], bool], problem: str, alerts: tuple[str, ...]) -> None:
        firing: set[str] = set()
        try:
            async with asyncio.timeout(PATIENCE):
                while not is_so(firing := await self.firing()):  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_AGAIN)
        except TimeoutError:
            wanted = ", ".join(alerts or self.alerts)
            raise WrongError(f"{self.job}: one of {wanted} {problem}; these fire: {sorted(firing)}") from None
        self.ended[self.job] = time.time()


@asynccontextmanager
async def meanwhile(*doing: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Do something for the time of a `with` block."""
    tasks = [asyncio.ensure_future(one) for one in doing]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended


async def episodes(server: Server, begin: float, ended: dict[str, float]) -> dict[tuple[str, str], int]:
    """Return how often each alert began to fire, by job and by name with severity.

    Args:
        server: Knows it.
        begin: Since 1970.
        ended: For each job, up to when.
    """
    found: dict[tuple[str, str], set[float]] = {}
    for job, end in ended.items():
        query = f'ALERTS{{alertstate="firing",job="{job}"}}'
        for series in await server.over_time(query, begin, end, f"{seconds(STEP):g}"):
            times = found.setdefault((job, _names(series["metric"])[1]), set())
            times |= {float(at) for at, _ in series["values"]}
    return {which: _runs(times) for which, times in found.items()}


def shows(series: Series) -> bool:
    """Tell whether there is a number in the answer to a query."""
    return any(value != "NaN" for one in series for _, value in one["values"])


def _runs(times: set[float]) -> int:
    """Count the stretches of times without a gap that counts."""
    ordered = sorted(times)
    return 1 + sum(later - earlier > seconds(AGAIN) for earlier, later in pairwise(ordered))


def _names(labels: dict[str, str]) -> tuple[str, str]:
    return labels["alertname"], f"{labels['alertname']}:{labels['severity']}"
