"""Calls that end without having said anything: each gets an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc

from benchmarks.bare import METHOD
from benchmarks.chaos.scenario import Numbers, scenario
from benchmarks.chaos.subjects import GO, Subject
from benchmarks.chaos.upstream import playing

CALLS = 20
# Seconds; grpc-go and grpc-java answer at once.
PATIENCE = 3.0


@scenario("half-closed", {f"calls without an answer of {CALLS}": 0}, beside=(GO,))
async def half_closed(subject: Subject) -> Numbers:
    """Half-close unary calls without a message."""
    async with (
        playing() as upstream,
        subject.serve(upstream.url) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        method: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(METHOD)
        calls = [method(_nothing(), metadata=(("x-auth-token", "a"),)) for _ in range(CALLS)]
        codes = [asyncio.ensure_future(call.code()) for call in calls]
        _, unanswered = await asyncio.wait(codes, timeout=PATIENCE)
        return (len(unanswered),)


async def _nothing() -> AsyncIterator[bytes]:
    for message in list[bytes]():
        yield message
