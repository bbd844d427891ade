"""Who ask: tenants, over gRPC or HTTP, each of whom knows the rows that are its own."""

from __future__ import annotations

import itertools
from typing import Protocol

import aiohttp
import grpc
from yarl import URL

from benchmarks.bare import METHOD, target
from gateway.swr.v1 import repos_pb2

OK = "OK"
WRONG = "another's rows"

# Seconds after which a call counts as lost.
DEADLINE = 5.0

_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))


class Caller(Protocol):
    """A tenant with connections of its own, which asks for another row with each call and retries nothing."""

    async def ask(self, within: float = DEADLINE) -> str:
        """Make a call; return OK, WRONG, or how it failed."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


class GrpcCaller:
    """Calls ListRepos.

    Args:
        address: Whom it calls.
        tenant: Its token.
    """

    def __init__(self, address: str, tenant: str) -> None:
        self._tenant = tenant
        self._channel = grpc.aio.insecure_channel(address, _OPTIONS)
        self._list: grpc.aio.UnaryUnaryMultiCallable[bytes, repos_pb2.ListReposResponse] = self._channel.unary_unary(
            METHOD, response_deserializer=repos_pb2.ListReposResponse.FromString
        )
        self._numbers = itertools.count()

    async def ask(self, within: float = DEADLINE) -> str:
        """Ask for the next row."""
        number = next(self._numbers)
        request = repos_pb2.ListReposRequest(offset=number, limit=1).SerializeToString()
        try:
            reply = await self._list(request, timeout=within, metadata=(("x-auth-token", self._tenant),))
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        return OK if [repo.name for repo in reply.repos] == [f"{self._tenant}-{number}"] else WRONG

    async def close(self) -> None:
        """Close the connections."""
        await self._channel.close()


class HttpCaller:
    """Sends the request that a gateway would send.

    Args:
        address: Whom it asks.
        tenant: Its token.
    """

    def __init__(self, address: str, tenant: str) -> None:
        self._tenant = tenant
        self._url = f"http://{address}"
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers={"X-Auth-Token": tenant})
        self._numbers = itertools.count()

    async def ask(self, within: float = DEADLINE) -> str:
        """Ask for the next row."""
        number = next(self._numbers)
        url = URL(self._url + target(1, number), encoded=True)
        try:
            async with self._session.get(url, timeout=aiohttp.ClientTimeout(within)) as response:
                if response.status != 200:
                    return f"{response.status}: {await response.text()}"
                rows = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError) as error:
            return repr(error)
        return OK if [row["name"] for row in rows] == [f"{self._tenant}-{number}"] else WRONG

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
