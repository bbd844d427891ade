"""Bytes arrive on a kept connection after it went idle: they answer nothing."""

from __future__ import annotations

import asyncio

from benchmarks.chaos.load import lost, wrong
from benchmarks.chaos.scenario import Numbers, scenario
from benchmarks.chaos.subjects import ENVOY, GO, Subject
from benchmarks.chaos.upstream import Request, page, playing

CALLS = 20
# Seconds: when it comes after an answer, and the next call after that, on a machine that has much else to do. A proxy's
# time limit for idle connections is longer, and means the same.
LATER, IDLE = 0.02, 0.25

GOOD_BYE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
OTHERS_ROWS = page("somebody-else", 0, 1)


@scenario("late-bytes-408", {f"calls lost of {CALLS}": 0}, beside=(ENVOY, GO))
async def late_408(subject: Subject) -> Numbers:
    """Say good-bye to each idle connection as proxies do: 408, and a close that takes its time."""
    return (lost(await _calls_between(subject, GOOD_BYE)),)


@scenario("late-bytes-200", {f"calls lost of {CALLS}": 0, "calls with another's rows": 0}, beside=(ENVOY, GO))
async def late_200(subject: Subject) -> Numbers:
    """Send another tenant's rows on each idle connection, unasked."""
    outcomes = await _calls_between(subject, OTHERS_ROWS)
    return lost(outcomes), wrong(outcomes)


async def _calls_between(subject: Subject, late: bytes) -> list[str]:
    """Let two tenants call in turn, and have bytes come after each answer."""

    async def answer_and_more(request: Request) -> None:
        await request.answer()
        await asyncio.sleep(LATER)
        await request.connection.write(late)

    async with playing(answer_and_more) as upstream, subject.serve(upstream.url) as served:
        tenants = [served.caller(tenant) for tenant in ("a", "b")]
        outcomes = []
        for number in range(CALLS):
            outcomes.append(await tenants[number % 2].ask())
            await asyncio.sleep(LATER + IDLE)
        return outcomes
