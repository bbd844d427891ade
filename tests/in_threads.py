"""A SyncClient that is called as a Client is, so that one test is about both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Self, TypeAlias, TypeVar

from swr_gateway_client import Client, ListReposResponse, Repo, StreamReposResponse, SyncClient

Item = TypeVar("Item", Repo, StreamReposResponse)
Result = TypeVar("Result")

# More calls at once than asyncio has threads for.
_THREADS = ThreadPoolExecutor(64)


class InThreads:
    """Waits in other threads, for the loop of the test goes on meanwhile."""

    def __init__(self, target: str, **given: Any) -> None:
        self._client = SyncClient(target, **given)

    async def __aenter__(self) -> Self:
        self._client.__enter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await _in_thread(partial(self._client.__exit__, None, None, None))

    async def list_repos(self, **given: Any) -> ListReposResponse:
        return await _in_thread(partial(self._client.list_repos, **given))

    def iter_pages(self, **given: Any) -> AsyncGenerator[StreamReposResponse, None]:
        return _in_threads(self._client.iter_pages(**given))

    def iter_repos(self, **given: Any) -> AsyncGenerator[Repo, None]:
        return _in_threads(self._client.iter_repos(**given))


AnyClient: TypeAlias = Client | InThreads
Kind: TypeAlias = type[Client] | type[InThreads]


async def _in_thread(work: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)


async def _in_threads(items: Generator[Item, None, None]) -> AsyncGenerator[Item, None]:
    try:
        while (item := await _in_thread(partial(next, items, None))) is not None:
            yield item
    finally:
        items.close()
