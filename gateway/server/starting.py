"""Starts gRPC's server so that a cancelled start leaves nothing behind."""

from __future__ import annotations

import asyncio

import grpc


async def start_whole(server: grpc.aio.Server) -> None:
    """Start a server, to its end although this is cancelled meanwhile.

    Cancelled half way, gRPC's own task would end in an exception that nobody takes, and its ports would stay open.
    """
    starting = asyncio.ensure_future(server.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await starting
        raise
