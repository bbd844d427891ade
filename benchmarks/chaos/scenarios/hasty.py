"""Callers in a hurry, or who hang up, in front of a healthy upstream: that says nothing of the upstream."""

from __future__ import annotations

import asyncio

from benchmarks.chaos.load import at_once, cancelled, lost
from benchmarks.chaos.scenario import Numbers, scenario
from benchmarks.chaos.subjects import ENVOY, GO, Subject
from benchmarks.chaos.upstream import Request, playing

HASTY = 20
INNOCENT = 10
# Seconds: what the upstream takes, and what callers in a hurry give it.
LATENCY, HURRY = 2.0, 1.6


async def _healthy(request: Request) -> None:
    await asyncio.sleep(LATENCY)
    await request.answer()


@scenario("hasty", {f"calls of another lost of {INNOCENT}": 0}, beside=(ENVOY, GO))
async def hasty(subject: Subject) -> Numbers:
    """Set a deadline that is shorter than the upstream's answer takes."""
    async with playing(_healthy) as upstream, subject.serve(upstream.url) as served:
        await at_once(served.caller("a"), HASTY, within=HURRY)
        return (lost(await at_once(served.caller("b"), INNOCENT)),)


@scenario("cancelling", {f"calls of another lost of {INNOCENT}": 0}, beside=(ENVOY, GO))
async def cancelling(subject: Subject) -> Numbers:
    """Hang up before the upstream has answered."""
    async with playing(_healthy) as upstream, subject.serve(upstream.url) as served:
        await cancelled(served.caller("a"), HASTY, after=HURRY)
        return (lost(await at_once(served.caller("b"), INNOCENT)),)
