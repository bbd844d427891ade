"""One case on one client: what it asks the client to do, and what it must be told."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import grpc

from benchmarks.chaos.serving import Served
from clients.interop.checks import same
from clients.interop.driver import Driver
from clients.interop.interop_pb2 import Call, Connect, Result
from clients.interop.world import World
from gateway.swr.v1.repos_pb2 import ListReposRequest, Repo, StreamReposRequest
from scripted_upstream import ScriptedUpstream

# The credential of every call: gateways pass it on, and no upstream here looks at it.
TOKEN = "interop"

_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass
class Stage:
    """Where a case is played.

    Attributes:
        driver: The client.
        world: What is around it.
        stack: Ends with the case.
    """

    driver: Driver
    world: World
    stack: AsyncExitStack

    @property
    def upstream(self) -> ScriptedUpstream:
        """The upstream that plays bytes."""
        return self.world.upstream

    async def serve(self, *flags: str) -> Served:
        """Serve a gateway of the case's own in front of that upstream."""
        return await self.stack.enter_async_context(self.world.serve(*flags))

    async def connect(self, target: str = "", **more: Any) -> None:
        """Have the client connect: to the plain gateway, unless another is named."""
        await self.driver.connect(Connect(target=target or self.world.plain, **{"token": TOKEN, **more}))

    async def list_repos(self, request: ListReposRequest | None = None, **more: Any) -> Result:
        """Have the client call ListRepos."""
        return await self.call(Call(list=request or ListReposRequest(), **more))

    async def stream_repos(self, request: StreamReposRequest | None = None, **more: Any) -> Result:
        """Have the client call StreamRepos."""
        return await self.call(Call(stream=request or StreamReposRequest(), **more))

    async def call(self, call: Call) -> Result:
        """Have the client make one call."""
        (result,) = await self.driver.call([call])
        return result

    async def calls(self, calls: Sequence[Call]) -> list[Result]:
        """Have the client begin calls at once, and wait until all have ended."""
        return await self.driver.call(calls)


def code_of(result: Result) -> str:
    """Return the name of a call's status."""
    return _NAMES.get(result.code, str(result.code))


def must_end(result: Result, code: str) -> None:
    """Hold a call to a status.

    Raises:
        WrongError: It has another one.
    """
    same(f"{code_of(result)}: {result.message}" if code_of(result) != code else code, code, "the status")


def repos_of(result: Result) -> list[Repo]:
    """Return what came, page by page or message by message."""
    of_pages = [repo for page in result.pages for repo in page.repos]
    return of_pages + [repo for message in result.messages for repo in message.repos]
