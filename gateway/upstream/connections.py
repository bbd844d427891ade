"""The pool of kept connections: each is clean when it is taken, and is used with one credential only.

HTTP/1.1 matches answers to requests by their order alone. What arrives while no request is outstanding would be read as
the answer to the next one, so it ends the connection (RFC 9112, section 9.2). aiohttp hands such connections out
(https://github.com/aio-libs/aiohttp/issues/13656), so this pool looks twice:

- a connection on which anything arrives while it is idle is closed at once;
- one that is taken is looked at for what the kernel holds and the event loop has not read yet.

A connection that the other side has forgotten shows that only when it is used. The pool notes whether a request went
over a kept connection, and whether a byte of an answer came. If none did, the request may be sent again over a fresh
one (section 9.3.1).

`_factory`, `_get`, `_release` and the two that connect are aiohttp's own, and no public interface;
tests/test_kept_connections.py fails should one of them change.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from contextvars import Context, ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler

from gateway.reliability.timeouts import PatientTimeout

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection

# Below what servers and load balancers commonly keep an idle connection for, so that we close it first.
KEEPALIVE_TIMEOUT = 15.0
DNS_TTL = 30

# aiohttp's own limits, none of which is patient where the process stands still.
_NO_LIMITS = aiohttp.ClientTimeout()


@dataclass(slots=True, eq=False)
class Lease:
    """What one request asks of its connection, and what became known of it.

    Attributes:
        owner: Whose connections it may use: a number for each credential.
        fresh: Whether it must not use a kept connection.
        kept: The kept connection that it went over; None for a fresh one.
        held_up: Whether the time to connect ended while the process stood still.
    """

    owner: int = 0
    fresh: bool = False
    kept: _Protocol | None = None
    held_up: bool = False

    @property
    def is_unheard(self) -> bool:
        """Whether the request went over a kept connection, and no byte of an answer came."""
        return self.kept is not None and not self.kept.heard


_lease: ContextVar[Lease] = ContextVar("lease", default=Lease())  # noqa: B039 - nobody writes to this one


def lease_connection(owner: int, *, fresh: bool) -> Lease:
    """Say which connections the next request of this task may use; the lease tells afterwards what it went over."""
    lease = Lease(owner, fresh)
    _lease.set(lease)
    return lease


class _Protocol(ResponseHandler):
    """One connection, which knows whether a request is outstanding.

    Attributes:
        owner: Whose it is.
        heard: Whether anything arrived since it was taken.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_discarded: Callable[[], None]) -> None:
        super().__init__(loop)
        self.owner = _lease.get().owner
        self.heard = False
        self._on_discarded = on_discarded
        self._is_idle = False

    def take(self) -> None:
        self._is_idle = self.heard = False

    def keep(self) -> None:
        self._is_idle = True

    def data_received(self, data: bytes) -> None:
        self.heard = True
        if self._is_idle and data:  # aiohttp calls it with nothing to go on with what it has
            self._on_discarded()
            self.close()
        else:
            super().data_received(data)

    def is_clean(self) -> bool:
        """Tell whether it may be handed out: nothing arrived, and neither side wants to close it."""
        return not self.should_close and not _has_input(self.transport)


def _has_input(transport: asyncio.Transport | None) -> bool:
    """Tell whether the kernel holds bytes, the end or an error of a connection that were not read yet."""
    socket = transport.get_extra_info("socket") if transport else None
    if socket is None:
        return False
    poll = select.poll()
    poll.register(socket.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class KeptConnections(aiohttp.TCPConnector):
    """Connections to one origin, kept for the next request of the same owner.

    Args:
        most_idle: Connections that are kept without a request; of more, the one that is idle longest is closed.
        on_discarded: Called for each kept connection that was closed because it was not clean.
    """

    def __init__(self, most_idle: int, on_discarded: Callable[[], None]) -> None:
        super().__init__(limit=0, ttl_dns_cache=DNS_TTL, keepalive_timeout=KEEPALIVE_TIMEOUT)
        self._factory = cast("partial[ResponseHandler]", partial(_Protocol, self._loop, on_discarded))
        self._most_idle = most_idle
        self._on_discarded = on_discarded
        self._idle: dict[_Protocol, None] = {}  # that which is idle longest first

    async def _create_connection(self, req: Any, traces: list[Any], timeout: Any) -> ResponseHandler:  # noqa: ASYNC109
        """Connect in a context of its own: a socket keeps the one that it was opened in, with its caller's token."""
        context = Context()
        context.run(_lease.set, _lease.get())
        connecting = self._loop.create_task(super()._create_connection(req, traces, timeout), context=context)
        try:
            return await connecting
        except asyncio.CancelledError:
            # It may have opened in this very moment, and nobody else knows of it.
            if connecting.done() and not connecting.cancelled() and connecting.exception() is None:
                connecting.result().close()
            raise

    async def _wrap_create_connection(
        self,
        *args: Any,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp passes it by this name
        **more: Any,
    ) -> Any:
        """Connect to one address, with a last second for it where the process stood still meanwhile."""
        assert timeout.sock_connect is not None
        limit = PatientTimeout(self._loop.time() + timeout.sock_connect)
        try:
            with limit:
                return await super()._wrap_create_connection(*args, timeout=_NO_LIMITS, **more)
        except TimeoutError:
            _lease.get().held_up = limit.was_late
            raise

    async def _get(self, key: ConnectionKey, traces: list[Any]) -> Connection | None:
        """Take a kept connection that is clean; None where there is none."""
        lease = _lease.get()
        if lease.fresh:
            return None
        while (connection := await super()._get(_of_owner(key, lease.owner), traces)) is not None:
            protocol = connection.protocol
            assert isinstance(protocol, _Protocol)
            self._idle.pop(protocol, None)
            if protocol.is_clean():
                protocol.take()
                lease.kept = protocol
                return connection
            self._on_discarded()
            connection.close()
        return None

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        """Keep a connection for the next request, or close it."""
        assert isinstance(protocol, _Protocol)
        key = _of_owner(key, protocol.owner)
        # In a context of its own: aiohttp's timer for idle connections keeps the one that it was started in.
        Context().run(super()._release, key, protocol, should_close=should_close)
        if not protocol.is_connected():
            return
        protocol.keep()
        self._idle[protocol] = None
        if len(self._idle) > self._most_idle:
            longest = next(iter(self._idle))
            del self._idle[longest]
            longest.close()


def _of_owner(key: ConnectionKey, owner: int) -> ConnectionKey:
    """Return the key of the pool for one owner. The field is free, for no proxy is used, and an integer."""
    return key._replace(proxy_headers_hash=owner) if owner else key
