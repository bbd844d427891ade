"""A gateway that answers on order, breaks calls on order, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from swr_gateway_client.v1 import repos_pb2

ON_PURPOSE = "on purpose"


@dataclass(frozen=True)
class Break:
    """Ends a call with a status."""

    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    pushback: str | None = None
    details: tuple[Message, ...] = ()
    message: str = ON_PURPOSE


@dataclass(frozen=True)
class Stall:
    """Does nothing until the call is cancelled."""


AT_ONCE = Break(pushback="0")
STALL = Stall()

# Bytes are sent as they are, in the place of a message.
Step: TypeAlias = repos_pb2.ListReposResponse | repos_pb2.StreamReposResponse | bytes | Break | Stall
Script: TypeAlias = tuple[Step, ...]


@dataclass(frozen=True)
class Asked:
    """A call as it arrived."""

    request: Any
    metadata: dict[str, str | bytes]
    seconds: float | None


@dataclass
class ScriptedGateway:
    """Plays one script a call, in order; the last one again and again.

    Attributes:
        target: Where it listens.
        scripts: What the next calls are answered with.
        asked: What it was asked.
        stalled: Set when a call has come to a Stall.
        cancelled: Set when such a call was cancelled.
    """

    target: str = ""
    scripts: list[Script] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    def play(self, *scripts: Script) -> None:
        self.scripts = list(scripts)

    @property
    def offsets(self) -> list[int]:
        return [asked.request.start_offset for asked in self.asked]

    def handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            "gateway.swr.v1.RepoService",
            {
                "ListRepos": grpc.unary_unary_rpc_method_handler(
                    self._list,
                    repos_pb2.ListReposRequest.FromString,
                    serialized,
                ),
                "StreamRepos": grpc.unary_stream_rpc_method_handler(
                    self._perform,
                    repos_pb2.StreamReposRequest.FromString,
                    serialized,
                ),
            },
        )

    async def _list(self, request: Any, context: Any) -> Any:
        return await anext(self._perform(request, context))

    async def _perform(self, request: Any, context: Any) -> AsyncGenerator[Any, None]:
        self.asked.append(Asked(request, dict(context.invocation_metadata()), context.time_remaining()))
        for step in self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]:
            match step:
                case Break():
                    await context.abort(step.code, step.message, trailers(step))
                case Stall():
                    await self._stall()
                case _:
                    yield step

    async def _stall(self) -> None:
        self.stalled.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


def serialized(message: Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


def trailers(order: Break) -> tuple[tuple[str, str | bytes], ...]:
    found: list[tuple[str, str | bytes]] = []
    if order.pushback is not None:
        found.append(("grpc-retry-pushback-ms", order.pushback))
    if order.details:
        found.append(("grpc-status-details-bin", packed(order.code, ON_PURPOSE, *order.details)))
    return tuple(found)


def packed(code: grpc.StatusCode, message: str, *details: Message) -> bytes:
    status = Status(code=code.value[0], message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return status.SerializeToString()


def message(first: int, count: int = 2) -> repos_pb2.StreamReposResponse:
    """Build a message of a stream: repositories that are named by their index."""
    repos = [repos_pb2.Repo(name=str(index)) for index in range(first, first + count)]
    return repos_pb2.StreamReposResponse(repos=repos, next_offset=first + count)


@asynccontextmanager
async def scripted_gateway(
    target: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[ScriptedGateway]:
    scripted = ScriptedGateway()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((scripted.handlers(),))
    port = server.add_secure_port(target, credentials) if credentials else server.add_insecure_port(target)
    scripted.target = target if target.startswith("unix:") else f"127.0.0.1:{port}"
    await server.start()
    try:
        yield scripted
    finally:
        await server.stop(None)
