"""The machine stands still for a while, as when it is moved: answers that have come by then are answers."""

from __future__ import annotations

import asyncio
import signal

from benchmarks.chaos.load import at_once, lost, until
from benchmarks.chaos.scenario import Numbers, scenario
from benchmarks.chaos.subjects import ENVOY, GO, Subject
from benchmarks.chaos.upstream import Request, playing

CALLS = 30
AFTER = 10
# Seconds: how long it stands still, and the upstream's answer takes.
STILL, LATENCY = 7.0, 1.0


@scenario("pause", {f"calls lost of {CALLS}": 2, f"calls lost of {AFTER} after it": 0}, beside=(ENVOY, GO))
async def pause(subject: Subject) -> Numbers:
    """Stop the process with calls in flight, for longer than a request to the upstream may take."""

    async def answer_later(request: Request) -> None:
        await asyncio.sleep(LATENCY)
        await request.answer()

    async with playing(answer_later) as upstream, subject.serve(upstream.url) as served:
        calls = asyncio.create_task(at_once(served.caller("a"), CALLS, within=30))
        await until(lambda: upstream.requests >= CALLS)
        served.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(STILL)
        served.process.send_signal(signal.SIGCONT)
        outcomes = await calls
        return lost(outcomes), lost(await at_once(served.caller("b"), AFTER))
