"""How calls are dropped whose callers take nothing, not even a status.

A status goes out behind the messages before it, and gRPC keeps those until they are taken or the connection ends.
grpc.aio has no way to give up a call from this side. But it gives up one that nobody holds any more, and it is held by
two tasks: the one that runs its servicer, and the one that began that and watches for a cancellation. The latter is
known by what it holds, which only the garbage collector can tell. The server's own loop holds the first of all calls,
and the latest until another one comes: those two are dropped with their connection.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

# The coroutine of gRPC's that watches a call.
_WATCHER = "_schedule_rpc_coro"


def drop_calls(tasks: list[asyncio.Task[Any]]) -> None:
    """Give calls up, with all that gRPC keeps of them; their callers get a bare CANCELLED.

    Args:
        tasks: Those that run their servicers.
    """
    watchers = {held: watcher for watcher in asyncio.all_tasks() for held in _tasks_held_by(watcher)}
    for task in tasks:
        task.cancel()
        if task in watchers:
            watchers[task].cancel()


def _tasks_held_by(watcher: asyncio.Task[Any]) -> Iterator[asyncio.Task[Any]]:
    """Find what a task of gRPC's has begun, in the variables of its coroutine."""
    work = watcher.get_coro()
    if getattr(work, "__name__", "") == _WATCHER:
        for scope in gc.get_referents(work):
            yield from (held for held in gc.get_referents(scope) if isinstance(held, asyncio.Task))
