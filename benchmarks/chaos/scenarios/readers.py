"""Readers that stand still: their answers take bounded memory, and a drain does not wait for them."""

from __future__ import annotations

import asyncio
from functools import partial

from benchmarks.bare import METHOD, target
from benchmarks.chaos.http2 import StillReader, still_reader
from benchmarks.chaos.load import until
from benchmarks.chaos.scenario import Numbers, scenario
from benchmarks.chaos.serving import Served
from benchmarks.chaos.subjects import ENVOY, GO, Subject
from benchmarks.chaos.upstream import Request, Upstream, playing
from benchmarks.process import cpu_seconds, peak_mebibytes, resident_mebibytes
from gateway.swr.v1 import repos_pb2

STREAM = METHOD.replace("ListRepos", "StreamRepos")
TOKEN = {"x-auth-token": "a"}
ROWS = 1000
# Bytes of descriptions: as one writes them, and of those who paste a manual.
USUAL, LARGE = 60, 8 * 1024
# Seconds of a drain; for how many nothing has to happen for all to have happened; and of the CPU, in each of them.
GRACE, QUIET, IDLE = 8, 4, 0.1
# This is about memory: nothing is given up because the machine is busy, nor refused because all come at once.
PATIENT = ("--timeout", "60s", "--attempt-timeout", "60s")
GAP = 0.02


@scenario("still-streams", {"MiB at the most": 200, "MiB at rest": 200}, beside=(GO,), is_alone=True)
async def still_streams(subject: Subject) -> Numbers:
    """Read nothing of 170 streams on one connection."""
    return await _memory_of_streams(subject, 170, USUAL)


@scenario("still-streams-large", {"MiB at the most": 250, "MiB at rest": 250}, beside=(GO,), is_alone=True)
async def still_streams_large(subject: Subject) -> Numbers:
    """Read nothing of 12 streams whose rows are large."""
    return await _memory_of_streams(subject, 12, LARGE)


@scenario(
    "still-replies",
    {"MiB at the most": 512, "seconds of a drain": GRACE + 3},
    beside=(ENVOY, GO),
    is_alone=True,
)
async def still_replies(subject: Subject) -> Numbers:
    """Read nothing of 400 replies, then say SIGTERM."""
    async with (
        playing(partial(Request.answer, row_bytes=USUAL)) as upstream,
        subject.serve(upstream.url, "--drain-grace", f"{GRACE}s", *PATIENT) as served,
        still_reader(served.address) as reader,
    ):
        for number in range(400):
            _ask(subject, reader, number)
            await asyncio.sleep(GAP)
        await _quiet(upstream, served, 400)
        return peak_mebibytes(served.process.pid), await served.ends(within=GRACE * 2)


async def _memory_of_streams(subject: Subject, streams: int, row_bytes: int) -> Numbers:
    async with (
        playing(partial(Request.answer, row_bytes=row_bytes)) as upstream,
        subject.serve(upstream.url, *PATIENT) as served,
        still_reader(served.address) as reader,
    ):
        request = repos_pb2.StreamReposRequest(page_size=ROWS).SerializeToString()
        for _ in range(streams):
            reader.call(STREAM, TOKEN, request)
            await asyncio.sleep(GAP)
        await _quiet(upstream, served, streams)
        return peak_mebibytes(served.process.pid), resident_mebibytes(served.process.pid)


def _ask(subject: Subject, reader: StillReader, number: int) -> None:
    if subject.kind == ENVOY:
        reader.get(target(ROWS, number), TOKEN)
    else:
        request = repos_pb2.ListReposRequest(offset=number, limit=ROWS)
        reader.call(METHOD, TOKEN, request.SerializeToString())


async def _quiet(upstream: Upstream, served: Served, least: int) -> None:
    """Wait until so many requests have come, and for a while no more have come and hardly anything was done."""
    await until(lambda: upstream.requests >= least)
    seconds = 0
    while seconds < QUIET:
        requests, used = upstream.requests, cpu_seconds(served.process.pid)
        await asyncio.sleep(1)
        is_quiet = upstream.requests == requests and cpu_seconds(served.process.pid) < used + IDLE
        seconds = seconds + 1 if is_quiet else 0
