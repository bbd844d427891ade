"""HTTP for operators: /metrics, /livez and /readyz.

It runs in threads of its own, so that it can tell that the event loop does not turn any more.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from gateway.server.errors import ListenError

# For which a client may be silent, so that those who only connect do not hold a thread.
REQUEST_TIMEOUT = 5.0

_log = logging.getLogger(__name__)

Texts = Callable[[], tuple[str, ...]]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Admin:
    """The operators' server, as a context manager.

    Args:
        address: `host:port`.
        registry: What /metrics shows.
        problems: Asks what is wrong for good; /livez answers 503 with it.
        hindrances: Asks what keeps the gateway from serving; /readyz answers 503 with it.
        remarks: Asks what else /readyz tells.

    Attributes:
        address: What it listens on, with the port that was chosen for 0. Known inside the context.
    """

    def __init__(
        self, address: str, registry: CollectorRegistry, *, problems: Texts, hindrances: Texts, remarks: Texts
    ) -> None:
        self.address = address
        self._metrics = make_wsgi_app(registry)
        self._problems = problems
        self._hindrances = hindrances
        self._remarks = remarks

    async def __aenter__(self) -> Self:
        """Start to answer.

        Raises:
            ListenError: The address cannot be listened on.
        """
        host, _, port = self.address.rpartition(":")
        try:
            self._server = make_server(host.strip("[]"), int(port), self._answer, _server_for(host), _Handler)
        except OSError as error:
            raise ListenError("--admin-listen", self.address, error.strerror or "no such address") from error
        self.address = f"{host}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="admin", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                page: Iterable[bytes] = self._metrics(environ, start_response)
                return page
            case "/livez":
                return _verdict(self._problems(), (), start_response)
            case "/readyz":
                return _verdict(self._hindrances(), self._remarks(), start_response)
            case _:
                return _text("404 Not Found", "/metrics, /livez, /readyz", start_response)


def _verdict(problems: tuple[str, ...], remarks: tuple[str, ...], start_response: StartResponse) -> Iterable[bytes]:
    status = "503 Service Unavailable" if problems else "200 OK"
    return _text(status, "\n".join([*(problems or ("ok",)), *remarks]), start_response)


def _text(status: str, text: str, start_response: StartResponse) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{text}\n".encode()]


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_TIMEOUT

    def log_message(self, *args: object) -> None:
        """Say nothing: probes come by the second."""


class _Server(ThreadingWSGIServer):
    request_queue_size = 128  # probes do not wait behind a burst of others

    def server_bind(self) -> None:
        """Bind, without a look at the DNS for a name that nobody asks for."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say little of clients that hang up."""
        _log.debug("a request to the admin address broke off", exc_info=True)


class _ServerV6(_Server):
    address_family = socket.AF_INET6


def _server_for(host: str) -> type[_Server]:
    return _ServerV6 if ":" in host else _Server
