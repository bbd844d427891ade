"""All of it together, for a while: two tenants, one of whom does what harms, and one who wants its rows."""

from __future__ import annotations

import asyncio
import os

from benchmarks.chaos.callers import Caller
from benchmarks.chaos.load import again_and_again, at_rate, cancelled, lost
from benchmarks.chaos.scenario import LIMIT, Numbers, scenario
from benchmarks.chaos.subjects import ENVOY, GO, Subject
from benchmarks.chaos.upstream import Request, playing

# Seconds: SOAK=600 is what a release goes through.
SECONDS = float(os.environ.get("SOAK", "12"))
RATE = 20
CALLS = int(RATE * SECONDS)
HOSTILE, INNOCENT = "a", "b"


async def _play_tricks(request: Request) -> None:
    """Answer the innocent tenant; the hostile one's queries fail, take their time, break off or are forgotten."""
    match request.offset % 5 if request.tenant == HOSTILE else 0:
        case 1:
            await request.refuse(503)
        case 2:
            await asyncio.sleep(2)
            await request.answer()
        case 3:
            request.connection.reset()
        case 4:
            await request.connection.keep_silent()
        case _:
            await request.answer()


@scenario("soak", {f"calls of the other lost of {CALLS}": 0}, beside=(ENVOY, GO), is_alone=True, limit=LIMIT + SECONDS)
async def soak(subject: Subject) -> Numbers:
    """Let a hostile tenant ask, insist and hang up."""
    async with playing(_play_tricks) as upstream, subject.serve(upstream.url) as served, asyncio.TaskGroup() as group:
        group.create_task(again_and_again(served.caller(HOSTILE), 150, SECONDS, within=1.6))
        group.create_task(_hang_up_often(served.caller(HOSTILE)))
        return (lost(await at_rate(served.caller(INNOCENT), RATE, SECONDS)),)


async def _hang_up_often(caller: Caller) -> None:
    for _ in range(int(SECONDS / 0.5)):
        await cancelled(caller, 20, after=0.5)
