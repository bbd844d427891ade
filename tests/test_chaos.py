"""The scenarios of `make chaos` that take seconds, on the gateway at hand; and how it tells what has come of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

import benchmarks.chaos.scenarios  # noqa: F401 - registers them
from benchmarks.bare import METHOD
from benchmarks.chaos.callers import WRONG
from benchmarks.chaos.http2 import still_reader
from benchmarks.chaos.load import at_once, lost
from benchmarks.chaos.scenario import SCENARIOS, Numbers, Play, Scenario, Skipped, played
from benchmarks.chaos.subjects import Subject, gateway
from benchmarks.chaos.table import rows
from benchmarks.chaos.upstream import Request, playing
from gateway.swr.v1.repos_pb2 import ListReposRequest
from patience import HOUR, until

IN_CI = (
    "late-bytes-408",
    "late-bytes-200",
    "forgotten",
    "hasty",
    "cancelling",
    "tenant-503",
    "tenant-probes",
    "unread-logs",
    "half-closed",
    "pause",
    "full-disk",
    "admin-descriptors",
)
TIMES = ("seconds", "CPUs")
NOW = gateway("now")

TOKEN = {"x-auth-token": "a"}


@pytest.mark.parametrize("name", IN_CI)
async def test_a_promise_is_kept(name: str) -> None:
    """Of what is counted: how long it took is for `make chaos` to say, on a machine that has nothing else to do."""
    chosen = SCENARIOS[name]
    promise = {what: HOUR if what.startswith(TIMES) else most for what, most in chosen.promise.items()}
    outcome = await played(replace(chosen, promise=promise, limit=HOUR), NOW)
    assert outcome.kept, outcome


async def told(play: Play) -> tuple[bool, list[str]]:
    """Play a scenario of two numbers; return whether its promise was kept, and what the table shows."""
    chosen = Scenario("trouble", {"calls lost": 2, "MiB": 200}, frozenset(), play)
    outcome = await played(chosen, NOW)
    lines = rows(chosen, {"now": outcome}).splitlines()
    return outcome.kept, [line.split("|")[-2].strip() for line in lines]


@pytest.mark.parametrize(
    ("numbers", "kept", "cells"),
    [
        ((2, 199.6), True, ["2", "200"]),
        ((0, 201), False, ["0", "**201**"]),
        ((2.5, 0.25), False, ["**2.5**", "0.25"]),
    ],
)
async def test_numbers_are_held_to_the_promise(numbers: Numbers, kept: bool, cells: list[str]) -> None:
    async def play(_: Subject) -> Numbers:
        return numbers

    assert await told(play) == (kept, cells)


async def test_a_scenario_that_breaks_off_keeps_no_promise() -> None:
    async def play(_: Subject) -> Numbers:
        raise ConnectionRefusedError

    assert await told(play) == (False, ["**?**", "**?**"])


async def test_a_scenario_that_cannot_be_played_breaks_none() -> None:
    async def play(_: Subject) -> Numbers:
        raise Skipped("no disk of its own")

    assert await told(play) == (True, ["-", "-"])


async def test_a_world_without_trouble_harms_nobody() -> None:
    async with playing() as upstream, NOW.serve(upstream.url) as served:
        assert lost(await at_once(served.caller("a"), 20)) == 0


async def test_callers_know_the_rows_that_are_their_own() -> None:
    async def answer_another(request: Request) -> None:
        await replace(request, tenant="b").answer()

    async with playing(answer_another) as upstream, NOW.serve(upstream.url) as served:
        assert await served.caller("a").ask() == WRONG


async def test_a_reader_that_stands_still_makes_calls() -> None:
    async with playing() as upstream, NOW.serve(upstream.url) as served, still_reader(served.address) as reader:
        reader.call(METHOD, TOKEN, ListReposRequest(offset=0, limit=1).SerializeToString())
        await until(lambda: upstream.requests > 0)
