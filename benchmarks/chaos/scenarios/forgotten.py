"""A load balancer forgets the connections that it has: each dies on its next use, and new ones are fine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from benchmarks.chaos.load import at_once, lost, seconds_until_well
from benchmarks.chaos.scenario import Numbers, scenario
from benchmarks.chaos.subjects import ENVOY, GO, Subject
from benchmarks.chaos.upstream import Connection, Request, playing

POOLED = 60
# Seconds: two requests that are waited for as long as one may take, and a little.
PATIENCE = 12.0


@dataclass(frozen=True)
class Death:
    """How connections die.

    Attributes:
        kind: `close`, `reset` or `silence`.
        after: Milliseconds after the request has come.
        request: Which request of the connection it is.
    """

    kind: str
    after: int = 0
    request: int = 2

    async def take(self, connection: Connection) -> None:
        """Have a connection die."""
        await asyncio.sleep(self.after / 1000)
        match self.kind:
            case "close":
                connection.close()
            case "reset":
                connection.reset()
            case "silence":
                await connection.keep_silent()


@dataclass
class Balancer:
    """Knows all connections at first; those that it had forgotten die, and new ones are answered.

    Attributes:
        death: How they die.
        meeting: Where requests wait for each other, so that each has a connection of its own.
    """

    death: Death
    meeting: asyncio.Barrier | None = field(default_factory=lambda: asyncio.Barrier(POOLED))

    async def __call__(self, request: Request) -> None:
        """Answer a request, or have its connection die."""
        if self.meeting:
            await self.meeting.wait()
        elif request.connection.is_forgotten:
            await self.death.take(request.connection)
            return
        await request.answer()


@scenario("forgotten", {f"calls lost of {POOLED}": 0, "seconds until well": 1}, beside=(ENVOY, GO))
async def forgotten(subject: Subject) -> Numbers:
    """Close each connection at its second request."""
    return await _harm_of(Death("close"), subject)


SIBLINGS = tuple(
    Death(kind, after, request)
    for kind in ("close", "reset")
    for after, request in ((1, 2), (5, 2), (20, 2), (5, 3), (5, 6))
)


@scenario(
    "forgotten-siblings",
    {f"calls lost of {POOLED * len(SIBLINGS)}": 0, "seconds until well, at the worst": 1},
    beside=(ENVOY, GO),
)
async def siblings(subject: Subject) -> Numbers:
    """Close and reset, after 1, 5 and 20 ms, at the second, third and sixth request."""
    harm = [await _harm_of(death, subject) for death in SIBLINGS]
    return sum(lost for lost, _ in harm), max(seconds for _, seconds in harm)


@scenario("forgotten-silent", {f"calls lost of {POOLED}": 0}, beside=(ENVOY, GO))
async def silent(subject: Subject) -> Numbers:
    """Answer nothing: what timed out on an old connection is asked again on a new one."""
    return (await _harm_of(Death("silence"), subject))[:1]


async def _harm_of(death: Death, subject: Subject) -> tuple[int, float]:
    """Return how many calls are lost, and how many seconds it takes until all are answered again."""
    balancer = Balancer(death)
    async with playing(balancer) as upstream, subject.serve(upstream.url) as served:
        caller = served.caller("a")
        for _ in range(1, death.request):
            await at_once(caller, POOLED)
        balancer.meeting = None
        for connection in upstream.connections:
            connection.is_forgotten = True
        return lost(await at_once(caller, POOLED, within=PATIENCE)), await seconds_until_well(caller)
