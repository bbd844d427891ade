"""The event loop of each test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TypeVarTuple

Arguments = TypeVarTuple("Arguments")


class Loop(asyncio.SelectorEventLoop):
    """Takes no more completions of gRPC's once it is closed.

    A process has one queue of them for all its loops. What comes late for the loop of one test, as a call's end does
    that nobody waits for, is read by the loop of the next one, which fails to hand it over and logs that as an error.
    """

    def call_soon_threadsafe(
        self, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.Handle:
        if self.is_closed() and callback.__module__ == "grpc._cython.cygrpc":
            return asyncio.Handle(callback, args, self, context)
        return super().call_soon_threadsafe(callback, *args, context=context)
