"""All cases with all clients: each client with a world of its own, two at a time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from clients.interop.case import LIMIT, Case, Played, Verdict
from clients.interop.checks import WrongError
from clients.interop.driver import Driver, DriverError, UnsupportedError, driving
from clients.interop.expectations import DIFFERENCES
from clients.interop.registry import Client
from clients.interop.stage import Stage
from clients.interop.world import World, world

# What is seen of a client whose process does not survive.
ENDED = "ended"

# Clients that play at the same time.
AT_ONCE = 2


async def play_all(clients: Sequence[Client], cases: Sequence[Case], folder: Path) -> dict[str, dict[str, Played]]:
    """Play cases with clients; return what came of them, by client and case.

    Args:
        clients: Whose drivers are built.
        cases: In this order.
        folder: For files.
    """
    turns = asyncio.Semaphore(AT_ONCE)

    async def in_turn(client: Client) -> dict[str, Played]:
        own = folder / client.name
        own.mkdir()
        async with turns, world(own) as around:
            return {one.name: await play(one, client, around) for one in cases}

    played = await asyncio.gather(*map(in_turn, clients))
    return {client.name: outcomes for client, outcomes in zip(clients, played, strict=True)}


async def play(case: Case, client: Client, around: World) -> Played:
    """Play one case with one client, in bounded time."""
    around.reset()
    try:
        async with asyncio.timeout(LIMIT), _stage(client, around) as stage:
            return judge(case, client, await case.play(stage))
    except DriverError as error:
        ended = judge(case, client, ENDED)
        return ended if ended.verdict is not Verdict.FAILED else replace(ended, remark=str(error))
    except UnsupportedError as reason:
        return Played("-", Verdict.UNSUPPORTED, str(reason))
    except WrongError as wrong:
        return Played("wrong", Verdict.FAILED, str(wrong))
    except TimeoutError:
        return Played("wrong", Verdict.FAILED, f"it is not over after {LIMIT:.0f} s")
    except Exception as error:  # noqa: BLE001 - a driver that breaks down fails its case, and not those of others
        return Played("wrong", Verdict.FAILED, f"{type(error).__name__}: {error}")


def judge(case: Case, client: Client, seen: str) -> Played:
    """Hold what was seen against what is expected of a client."""
    expected, reason = DIFFERENCES.get((case.name, client.name), (case.expected, ""))
    if not re.fullmatch(expected, seen):
        return Played(seen, Verdict.FAILED, f"{seen!r} was seen, and {expected!r} expected")
    return Played(seen, Verdict.DIFFERS if reason else Verdict.PASSED, reason)


@asynccontextmanager
async def _stage(client: Client, around: World) -> AsyncIterator[Stage]:
    """Set the stage: a driver of the case's own, for one that is in the midst of calls cannot be asked for others."""
    async with AsyncExitStack() as stack:
        driver: Driver = await stack.enter_async_context(driving(client.run, around.folder / "said"))
        yield Stage(driver, around, stack)
