"""What goes wrong."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from deploy.alerts.alerts import Stage, meanwhile
from deploy.alerts.subjects import Subject, serving, subject
from deploy.alerts.upstream import playing

Play: TypeAlias = Callable[[Stage], Awaitable[None]]

AVAILABILITY = ("SwrGatewayAvailabilityBurnFast", "SwrGatewayAvailabilityBurnSlow")
LATENCY = ("SwrGatewayLatencyBurnFast", "SwrGatewayLatencyBurnSlow")
# Callers get an old page while the upstream is sick: nothing but the cause is seen then.
REMEMBERS = ("--cache-ttl=1ms", "--stale-if-error=1h", "--no-coalesce")


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with one gateway.

    Attributes:
        play: Lets it go wrong, waits for its alerts, mends it, and waits until they clear.
        alerts: Those.
        also: Others that may come of it, and are shown to clear elsewhere.
    """

    play: Play
    alerts: tuple[str, ...]
    also: tuple[str, ...] = ()

    @property
    def job(self) -> str:
        """What Prometheus calls the gateway."""
        return self.play.__name__.replace("_", "-")


async def burning(stage: Stage) -> None:
    """A dozen calls fail, and very many succeed after that."""
    async with subject(stage.server, stage.job, "--retries=0", "--no-circuit", "--cache-ttl=1h") as gateway:
        await stage.is_seen()
        await gateway.call_in_a_row(30, other=False)
        await gateway.stream()
        gateway.upstream.status = 503
        await gateway.call_in_a_row(12)
        await stage.fires()
        async with meanwhile(_many_calls(gateway)):
            await stage.clears()


async def slow(stage: Stage) -> None:
    """A dozen calls take over a second, and many less after that."""
    async with subject(stage.server, stage.job, "--cache-ttl=1h") as gateway:
        await stage.is_seen()
        await gateway.call_in_a_row(30, other=False)
        gateway.upstream.latency = 1.2
        await gateway.call_in_a_row(12)
        await stage.fires()
        async with meanwhile(_many_calls(gateway)):
            await stage.clears()


async def sick(stage: Stage) -> None:
    """All requests to the upstream fail, and each is sent."""
    await _be_sick(stage, "--no-circuit")


async def left_alone(stage: Stage) -> None:
    """All requests to the upstream fail, and the circuit breaker opens."""
    await _be_sick(stage)


async def full(stage: Stage) -> None:
    """The upstream takes too long for as many permits as there are."""
    limits = ("--max-in-flight=4", "--max-queue=4", "--queue-timeout=100ms")
    async with subject(stage.server, stage.job, *limits) as gateway, meanwhile(gateway.keep_calling(30)):
        gateway.upstream.latency = 0.5
        await stage.fires()
        gateway.upstream.latency = 0.0
        await stage.clears()


async def gone(stage: Stage) -> None:
    """The only gateway is killed, and another one takes its place."""
    async with playing() as upstream:
        async with serving(stage.server, stage.job, "--auth=none", upstream=upstream) as gateway:
            await stage.is_seen()
            gateway.process.kill()
            await stage.fires()
        async with serving(stage.server, stage.job, "--auth=none", upstream=upstream):
            await stage.clears()


async def refused(stage: Stage) -> None:
    """The upstream does not accept the gateway's token."""
    async with playing() as upstream:
        options = ("--auth=token", "--allow-insecure")
        token = {"SWR_GATEWAY_TOKEN": "t"}
        async with (
            serving(stage.server, stage.job, *options, upstream=upstream, variables=token) as gateway,
            meanwhile(gateway.keep_calling(10)),
        ):
            upstream.status = 401
            await stage.fires()
            upstream.status = 200
            await stage.clears()


async def starved(stage: Stage) -> None:
    """The process stands still for half of the time."""
    async with subject(stage.server, stage.job) as gateway:
        async with meanwhile(_stutter(gateway.process.pid)):
            await stage.fires()
        await stage.clears()


async def token(stage: Stage) -> None:
    """IAM issues no new token when the last one is due; its life is as long as here, for it is no window."""
    options = ("--auth=iam", "--iam-username=u", "--iam-domain=d", "--iam-project=p", "--allow-insecure")
    async with playing() as upstream:
        upstream.token_life = 180.0
        told = {"SWR_GATEWAY_IAM_PASSWORD": "p", "SWR_GATEWAY_IAM_URL": upstream.url}
        upstream.iam_status = 500
        async with serving(stage.server, stage.job, *options, upstream=upstream, variables=told) as gateway:
            await gateway.call()
            upstream.iam_status = 201
            await stage.is_seen()
            # No alert comes of single failures; the dashboard shows them.
            for upstream.status in (429, 0, 200):
                await gateway.call()
            upstream.iam_status = 500
            await stage.fires()
            upstream.iam_status = 201
            await stage.clears()


async def workers(stage: Stage) -> None:
    """All workers are killed."""
    async with subject(stage.server, stage.job, "--workers=4") as gateway:
        await stage.is_seen()
        for pid in gateway.workers():
            os.kill(pid, signal.SIGKILL)
        await stage.fires()
        await stage.clears()


async def hung(stage: Stage) -> None:
    """One of two workers stands still."""
    async with subject(stage.server, stage.job, "--workers=2") as gateway:
        await stage.is_seen()
        pid = gateway.workers()[0]
        os.kill(pid, signal.SIGSTOP)
        try:
            await stage.fires()
        finally:
            os.kill(pid, signal.SIGCONT)
        await stage.clears()


async def unread(stage: Stage) -> None:
    """Nobody reads the log."""
    async with subject(stage.server, stage.job, reads=False) as gateway:
        async with meanwhile(gateway.keep_calling(60)):
            await stage.fires()
        await stage.clears()


async def _be_sick(stage: Stage, *options: str) -> None:
    async with subject(stage.server, stage.job, *REMEMBERS, *options) as gateway:
        await gateway.call(other=False)
        async with meanwhile(gateway.keep_calling(20, other=False)):
            await stage.is_seen()
            gateway.upstream.status = 503
            await stage.fires()
            gateway.upstream.status = 200
            await stage.clears()


async def _many_calls(gateway: Subject) -> None:
    while True:
        await gateway.call_in_a_row(1000, other=False)


async def _stutter(pid: int) -> None:
    try:
        while True:
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(0.6)
            os.kill(pid, signal.SIGCONT)
            await asyncio.sleep(0.6)
    finally:
        os.kill(pid, signal.SIGCONT)
