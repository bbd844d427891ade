"""The methods of RepoService as a caller in Python wants them, without an event loop."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from types import TracebackType
from typing import Self

from swr_gateway_client.caller import Caller
from swr_gateway_client.channel import open_sync_channel
from swr_gateway_client.methods import read_page
from swr_gateway_client.requests import DEFAULT_LIMIT, AnyCenter, list_request, stream_request
from swr_gateway_client.sync_connection import SyncConnection
from swr_gateway_client.sync_resume import sync_resumed
from swr_gateway_client.v1 import repos_pb2


class SyncClient(Caller):
    """A client of one gateway, as a context manager, with the arguments, methods and errors of `Client`.

    Threads can share it. A process that forks opens a client of its own in the child.
    """

    _connection: SyncConnection | None = None

    def __enter__(self) -> Self:
        if self._connection is not None:
            raise RuntimeError(f"{self!r} is open already")
        self._connection = SyncConnection(open_sync_channel(self._target, self._tls, self._options))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def list_repos(
        self,
        *,
        center: AnyCenter = "self",
        namespace: str = "",
        name: str = "",
        category: str = "",
        offset: int = 0,
        limit: int = DEFAULT_LIMIT,
        timeout: float | None = None,
    ) -> repos_pb2.ListReposResponse:
        """List one page, as `Client.list_repos` does."""
        request = list_request(center, namespace, name, category, offset, limit)
        connection = self._open()
        with connection.failures():
            reply = connection.list_repos(
                request, metadata=self._metadata, timeout=self._seconds(timeout), wait_for_ready=self._wait_for_ready
            )
            return read_page(reply)

    def iter_pages(
        self,
        *,
        center: AnyCenter = "self",
        namespace: str = "",
        name: str = "",
        category: str = "",
        page_size: int | None = None,
        start_offset: int = 0,
        timeout: float | None = None,
    ) -> Generator[repos_pb2.StreamReposResponse, None, None]:
        """Iterate over the messages of StreamRepos, as `Client.iter_pages` does.

        To stop before the end, close the iterator, which cancels the call: `with closing(client.iter_pages())`.
        """
        request = stream_request(center, namespace, name, category, page_size, start_offset)
        self._open()
        return sync_resumed(self._open, request, self._metadata, timeout)

    def iter_repos(
        self,
        *,
        center: AnyCenter = "self",
        namespace: str = "",
        name: str = "",
        category: str = "",
        page_size: int | None = None,
        start_offset: int = 0,
        timeout: float | None = None,
    ) -> Generator[repos_pb2.Repo, None, None]:
        """Iterate over the repositories, one by one, with the arguments, guarantees and errors of `iter_pages`."""
        pages = self.iter_pages(
            center=center,
            namespace=namespace,
            name=name,
            category=category,
            page_size=page_size,
            start_offset=start_offset,
            timeout=timeout,
        )
        with closing(pages):
            for page in pages:
                yield from page.repos

    def _open(self) -> SyncConnection:
        if self._connection is None:
            raise RuntimeError(f"{self!r} is not open: use it in `with`")
        return self._connection
