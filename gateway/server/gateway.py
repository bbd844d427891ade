"""The gateway as a whole: put together of settings, started, drained and stopped."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import grpc
from grpc_health.v1 import health_pb2_grpc

from gateway.core.convert import PageConverter
from gateway.credentials import CallerToken, Credential, NoCredential, StaticToken, TokenFile
from gateway.server.guard import Guard
from gateway.server.health import HealthServicer
from gateway.server.reflection import add_reflection
from gateway.server.servicer import RepoServicer
from gateway.settings.model import Auth, Settings
from gateway.upstream.client import UpstreamClient

_log = logging.getLogger(__name__)

# A request is a handful of short texts.
MAX_REQUEST_BYTES = 64 * 1024
# A caller's own token has up to 20,000 characters, and the default of 8 KiB would refuse it.
MAX_METADATA_BYTES = 32 * 1024

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    # A port that another process listens on is an error, not something to share.
    ("grpc.so_reuseport", 0),
)


class ListenError(Exception):
    """An address that cannot be listened on."""


class Gateway:
    """A running gateway, as a context manager: inside it calls are served, and leaving it drains and stops.

    Args:
        settings: What to run.

    Attributes:
        addresses: What it listens on, with the ports that were chosen for `:0`. Known inside the context.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.addresses: tuple[str, ...] = ()

    async def __aenter__(self) -> Self:
        """Start.

        Raises:
            ListenError: An address cannot be listened on.
        """
        settings = self._settings
        async with AsyncExitStack() as stack:
            upstream = await stack.enter_async_context(
                UpstreamClient(
                    settings.origin,
                    max_connections=settings.max_in_flight,
                    attempt_timeout=settings.attempt_timeout,
                    max_response_bytes=settings.max_response_bytes,
                )
            )
            self._guard = Guard()
            self._health = HealthServicer()
            self._server = grpc.aio.server(interceptors=(self._guard,), options=_OPTIONS)
            self._add_services(upstream)
            self.addresses = tuple(self._listen(address) for address in settings.listen)
            await self._health.announce(serving=False)
            await self._server.start()
            stack.push_async_callback(self._server.stop, None)
            await self._health.announce(serving=True)
            self._resources = stack.pop_all()
        _log.info("serving on %s, upstream %s", ", ".join(self.addresses), settings.origin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._drain()
        finally:
            await self._resources.aclose()

    async def _drain(self) -> None:
        """Say NOT_SERVING, wait for callers to go elsewhere, accept no more calls, let those in flight finish.

        A cancellation on the way ends what is still in flight at once.
        """
        _log.info("draining")
        self._guard.drain()
        await self._health.announce(serving=False)
        await asyncio.sleep(self._settings.drain_delay)
        self._health.end_watches()
        await self._server.stop(self._settings.drain_grace)
        _log.info("stopped")

    def _add_services(self, upstream: UpstreamClient) -> None:
        settings = self._settings
        servicer = RepoServicer(
            upstream,
            _credential(settings),
            PageConverter(settings.row_memo_bytes),
            dialect=settings.dialect,
            timeout=settings.timeout,
            prefetch=settings.prefetch,
        )
        self._server.add_generic_rpc_handlers((servicer.method_handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if settings.reflection:
            add_reflection(self._server)

    def _listen(self, address: str) -> str:
        try:
            # A socket file that another process serves would be taken from it without a word.
            port = 0 if _is_served(address) else self._server.add_insecure_port(address)
        except RuntimeError:
            port = 0
        if not port:
            raise ListenError(f"cannot listen on {address}: in use, or not an address of this machine")
        return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"


def _is_served(address: str) -> bool:
    """Tell whether somebody accepts connections on a socket file."""
    if not address.startswith("unix:"):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(urlsplit(address).path) == 0


def _credential(settings: Settings) -> Credential:
    match settings.auth:
        case Auth.NONE:
            return NoCredential()
        case Auth.PASSTHROUGH:
            return CallerToken()
        case Auth.TOKEN if settings.token:
            return StaticToken(settings.token.get_secret_value())
        case Auth.TOKEN:
            assert settings.token_file is not None  # by the rules of gateway.settings.load
            return TokenFile(settings.token_file)
