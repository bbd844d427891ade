"""One tenant has trouble, or makes it, and another has no part in that: tenants do not pay for each other."""

from __future__ import annotations

import asyncio

from benchmarks.chaos.load import again_and_again, at_rate, lost
from benchmarks.chaos.scenario import Numbers, scenario
from benchmarks.chaos.subjects import ENVOY, GO, Subject
from benchmarks.chaos.upstream import Behavior, Request, playing

HOSTILE, INNOCENT = "a", "b"
# Of the innocent tenant: calls a second, and for how many of them.
RATE, SECONDS = 40, 5
CALLS = RATE * SECONDS
# Seconds by which the hostile one begins earlier.
AHEAD = 0.5


@scenario("tenant-503", {f"calls of the other lost of {CALLS}": 0}, beside=(ENVOY, GO))
async def tenant_503(subject: Subject) -> Numbers:
    """Answer one tenant's queries with 503, and the other's as ever."""

    async def refuse_one(request: Request) -> None:
        await (request.refuse(503) if request.tenant == HOSTILE else request.answer())

    return await _harm_to_the_other(subject, refuse_one, together=10)


@scenario("tenant-probes", {f"calls of the other lost of {CALLS}": 0}, beside=(ENVOY, GO))
async def tenant_probes(subject: Subject) -> Numbers:
    """Have one tenant cut off slow calls, all the time: it must not win each probe of a circuit that it opened."""

    async def keep_one_waiting(request: Request) -> None:
        await asyncio.sleep(2 if request.tenant == HOSTILE else 0)
        await request.answer()

    return await _harm_to_the_other(subject, keep_one_waiting, together=20, within=1.6, ahead=2)


@scenario("tenant-slow", {f"calls of the other lost of {CALLS}": 0}, beside=(ENVOY, GO), is_alone=True)
async def tenant_slow(subject: Subject) -> Numbers:
    """Have 400 slow calls of one tenant under way all the time: turns at the upstream are dealt fairly."""

    async def be_slow_to_one(request: Request) -> None:
        await asyncio.sleep(0.4 if request.tenant == HOSTILE else 0)
        await request.answer()

    return await _harm_to_the_other(subject, be_slow_to_one, together=400)


async def _harm_to_the_other(
    subject: Subject, behave: Behavior, *, together: int, within: float = 5.0, ahead: float = AHEAD
) -> Numbers:
    """Count the calls that an innocent tenant loses while a hostile one has so many calls under way all the time."""
    async with playing(behave) as upstream, subject.serve(upstream.url) as served, asyncio.TaskGroup() as group:
        hostile = again_and_again(served.caller(HOSTILE), together, ahead + SECONDS, within)
        group.create_task(hostile)
        await asyncio.sleep(ahead)
        return (lost(await at_rate(served.caller(INNOCENT), RATE, SECONDS)),)
