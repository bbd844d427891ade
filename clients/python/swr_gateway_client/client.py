"""The methods of RepoService as a caller in Python wants them, with an event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Self

from swr_gateway_client.caller import Caller
from swr_gateway_client.channel import open_channel
from swr_gateway_client.connection import Connection
from swr_gateway_client.methods import read_page
from swr_gateway_client.requests import DEFAULT_LIMIT, AnyCenter, list_request, stream_request
from swr_gateway_client.resume import resumed
from swr_gateway_client.v1 import repos_pb2


class Client(Caller):
    """A client of one gateway, as an async context manager.

    Entering opens a channel; leaving closes it and ends what is under way with CallError, `CANCELLED`. It can be
    entered again then, but not twice at a time: that is a RuntimeError.

    Any number of calls can be under way at once, in the event loop in which it was entered. All of them raise CallError
    where they fail, ValueError where a number does not fit into the protocol's 32 bits or there is no such center, and
    RuntimeError outside of the context or in another loop. An iterator belongs to the context in which its first item
    is asked for.

    Args:
        target: The gateway: `host:port`, `unix:/path`, or any other name that gRPC resolves. The proxy that the
            environment names (`https_proxy`, `no_proxy`) is used for it unless it is on this machine by its name.
        token: The upstream's token, sent as `x-auth-token` with every call; None sends none.
        timeout: Seconds that `list_repos` may take, retries included, unless the call says otherwise; `math.inf` sets
            no limit.
        wait_for_ready: Whether `list_repos` waits for a connection for all of that time, as while a gateway restarts.
            Otherwise it fails as soon as there is none, and says why.
        tls: What the connection is secured with, as of grpc.ssl_channel_credentials(); None is plain text, in which
            anyone on the way can read the token.
        authority: The gateway's name, in its certificate and to proxies, where it is not the target's: behind a port
            that is forwarded.
        options: Channel arguments of gRPC; they win over the client's own.

    Raises:
        ValueError: The target is a URL, or has no host or port; the authority is no name; or the token cannot be sent:
            it must be visible ASCII without blanks.
    """

    _connection: Connection | None = None

    async def __aenter__(self) -> Self:
        if self._connection is not None:
            raise RuntimeError(f"{self!r} is open already")
        self._connection = Connection(open_channel(self._target, self._tls, self._options))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def list_repos(
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
        """List one page. UNAVAILABLE is retried by the channel, as SERVICE_CONFIG says.

        Args:
            center: Whose repositories: `self`, `thirdparty`, or a member of `Center`.
            namespace: Organization, exactly: 1 to 64 characters; empty is any.
            name: Part of the name: 1 to 128 characters; empty is any.
            category: Category, exactly: 1 to 128 characters; empty is any.
            offset: Index of the first repository, from 0.
            limit: Most repositories to return: 1 to 1000. Both are always sent, so that `content_range` says of how
                many repositories these are, as far as the upstream tells.
            timeout: Seconds that the call may take, retries included; None means the client's.

        Raises:
            CallError: The call failed.
        """
        request = list_request(center, namespace, name, category, offset, limit)
        connection = self._open()
        with connection.failures():
            reply = await connection.list_repos(
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
    ) -> AsyncGenerator[repos_pb2.StreamReposResponse, None]:
        """Iterate over the messages of StreamRepos, to the end of the list, through breaks of the stream.

        A stream that breaks off, with UNAVAILABLE or on the way, is opened again at `next_offset` of the last message
        that arrived, after the time that the server asks for, if that is no more than 30 s, else after 0.1 s to 1 s,
        up to MAX_RESUMES times in a row.

        What is guaranteed across a resume: nothing that lies below that `next_offset` is asked for again, so a list
        that does not change meanwhile is delivered whole, and without repetition unless the upstream hides rows from
        this caller: then some can come again. Where it does change, a repository that moves across the break can come
        twice or not at all. The server knows only within one stream what it has sent.

        To stop before the end, close the iterator, which cancels the call: `async with aclosing(client.iter_pages())`.

        Args:
            center: Whose repositories: `self`, `thirdparty`, or a member of `Center`.
            namespace: Organization, exactly: 1 to 64 characters; empty is any.
            name: Part of the name: 1 to 128 characters; empty is any.
            category: Category, exactly: 1 to 128 characters; empty is any.
            page_size: Repositories that the gateway asks the upstream for at a time: 1 to 1000; None means 100.
            start_offset: Index of the first repository, from 0.
            timeout: Seconds from the first message asked for to the last one, resumes included; None sets no limit.

        Raises:
            CallError: The stream failed and was not resumed. What was delivered before stays valid.
        """
        request = stream_request(center, namespace, name, category, page_size, start_offset)
        self._open()
        return resumed(self._open, request, self._metadata, timeout)

    async def iter_repos(
        self,
        *,
        center: AnyCenter = "self",
        namespace: str = "",
        name: str = "",
        category: str = "",
        page_size: int | None = None,
        start_offset: int = 0,
        timeout: float | None = None,
    ) -> AsyncGenerator[repos_pb2.Repo, None]:
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
        async with aclosing(pages):
            async for page in pages:
                for repo in page.repos:
                    yield repo

    def _open(self) -> Connection:
        if self._connection is None:
            raise RuntimeError(f"{self!r} is not open: use it in `async with`")
        return self._connection
