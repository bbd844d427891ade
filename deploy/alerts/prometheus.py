"""A Prometheus that runs for one check: what it scrapes is told by a file, what it knows is asked over HTTP."""

from __future__ import annotations

import asyncio
import json
import re
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import yaml

from deploy.alerts.scaling import SCRAPE_INTERVAL, scaled
from deploy.check.tools import ENVIRONMENT, WrongError, prometheus

START = 60.0
# Prometheus looks back five minutes for the last sample of a series.
LOOK_BACK = "5m"
EVALUATION_INTERVAL = "30s"

Series: TypeAlias = list[dict[str, Any]]


class Server:
    """A server that scrapes.

    Args:
        folder: Its own.
        url: Where it answers.
        session: Asks it.
    """

    def __init__(self, folder: Path, url: str, session: aiohttp.ClientSession) -> None:
        self._targets = folder / "targets.json"
        self._url = url
        self._session = session
        self._scraped: dict[str, str] = {}

    def scrape(self, job: str, address: str) -> None:
        """Scrape a gateway from now on, instead of another one of that job."""
        self._scraped[job] = address
        groups = [
            {"targets": [address], "labels": {"namespace": "swr-gateway", "job": job}}
            for job, address in self._scraped.items()
        ]
        new = self._targets.with_suffix(".new")
        new.write_text(json.dumps(groups), encoding="utf-8")
        new.replace(self._targets)

    async def alerts(self) -> Series:
        """Return what is pending or fires."""
        found: Series = (await self._ask("alerts"))["alerts"]
        return found

    async def now(self, query: str) -> Series:
        """Return what a query comes to."""
        found: Series = (await self._ask("query", query=query))["result"]
        return found

    async def over_time(self, query: str, begin: float, end: float, step: str) -> Series:
        """Return what a query came to, again and again.

        Args:
            query: In PromQL.
            begin: Since 1970.
            end: Likewise.
            step: From one answer to the next.
        """
        answer = await self._ask("query_range", query=query, start=begin, end=end, step=step)
        found: Series = answer["result"]
        return found

    async def _ask(self, what: str, **parameters: str | float) -> Any:
        async with self._session.get(f"{self._url}/api/v1/{what}", params=parameters) as response:
            answer = await response.json()
        if answer["status"] != "success":
            raise WrongError(f"Prometheus refuses {parameters}: {answer['error']}")
        return answer["data"]


@asynccontextmanager
async def running(folder: Path, rules: Path) -> AsyncIterator[Server]:
    """Run a server for the time of a `with` block.

    Args:
        folder: Where it keeps what it has.
        rules: What it works out.
    """
    (folder / "targets.json").write_text("[]", encoding="utf-8")
    config = {
        "global": {
            "scrape_interval": scaled(SCRAPE_INTERVAL),
            "scrape_timeout": scaled(SCRAPE_INTERVAL),
            "evaluation_interval": scaled(EVALUATION_INTERVAL),
        },
        "rule_files": [str(rules)],
        "scrape_configs": [
            {"job_name": "gateways", "file_sd_configs": [{"files": ["targets.json"], "refresh_interval": "1s"}]}
        ],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        str(await asyncio.to_thread(prometheus)),
        "--config.file=prometheus.yaml",
        "--storage.tsdb.path=data",
        "--web.listen-address=127.0.0.1:0",
        f"--query.lookback-delta={scaled(LOOK_BACK)}",
        cwd=folder,
        env=ENVIRONMENT,
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(START):
            address = await _address(process.stderr)
        reading = asyncio.create_task(process.stderr.read())
        async with aiohttp.ClientSession() as session:
            yield Server(folder, f"http://{address}", session)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    await reading


async def _address(log: asyncio.StreamReader) -> str:
    said = []
    address = ""
    while line := (await log.readline()).decode():
        said.append(line)
        if found := re.search(r"Listening on\W+address=(\S+)", line):
            address = found[1]
        if "Server is ready" in line:
            return address
    raise WrongError(f"Prometheus does not start:\n{''.join(said)}")
