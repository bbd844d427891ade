"""HTTP for operators: the status page at /, /metrics, /livez and /readyz.

It runs in threads of its own, so that it can tell that the event loop does not turn any more.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self
from wsgiref.simple_server import make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from gateway.settings.model import Settings
from gateway.start_errors import ListenError
from gateway.telemetry import status_page
from gateway.telemetry.admin_http import AdminHandler, AdminServer, AdminServerV6
from gateway.telemetry.status import read_status

_METHODS = ("GET", "HEAD")

Texts = Callable[[], tuple[str, ...]]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Admin:
    """The operators' server, as a context manager.

    Args:
        settings: Those of the gateway, with the address.
        registry: What /metrics shows.
        problems: Asks what is wrong for good; /livez answers 503 with it.
        not_ready_reasons: Asks what keeps the gateway from serving; /readyz answers 503 with it.
        notes: Asks what else /readyz tells.

    Attributes:
        address: What it listens on, with the port that was chosen for 0. Known inside the context.
    """

    def __init__(
        self,
        settings: Settings,
        registry: CollectorRegistry,
        *,
        problems: Texts,
        not_ready_reasons: Texts,
        notes: Texts,
    ) -> None:
        self.address = settings.admin_listen or ""
        self._settings = settings
        self._registry = registry
        self._began_at = time.time()
        self._metrics = make_wsgi_app(registry)
        self._problems = problems
        self._not_ready_reasons = not_ready_reasons
        self._notes = notes

    async def __aenter__(self) -> Self:
        """Start to answer.

        Raises:
            ListenError: The address cannot be listened on.
        """
        host, _, port = self.address.rpartition(":")
        try:
            server = AdminServerV6 if ":" in host else AdminServer
            self._server = make_server(host.strip("[]"), int(port), self._answer, server, AdminHandler)
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
        """Answer GET, and HEAD as GET without the body."""
        method = environ["REQUEST_METHOD"]
        if method not in _METHODS:
            return _text("405 Method Not Allowed", "GET, HEAD", start_response, ("Allow", ", ".join(_METHODS)))
        page = self._page({**environ, "REQUEST_METHOD": "GET"}, start_response)
        return () if method == "HEAD" else page

    def _page(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/":
                # The path of a file may hold bytes that are no text.
                html = self._status_page().encode(errors="backslashreplace")
                start_response("200 OK", list(status_page.HEADERS))
                return [html]
            case "/metrics":
                page: Iterable[bytes] = self._metrics(environ, start_response)
                return page
            case "/livez":
                return _verdict(self._problems(), (), start_response)
            case "/readyz":
                return _verdict(self._not_ready_reasons(), self._notes(), start_response)
            case _:
                return _text("404 Not Found", "/, /metrics, /livez, /readyz", start_response)

    def _status_page(self) -> str:
        problems, reasons, notes = self._problems(), self._not_ready_reasons(), self._notes()
        status = read_status(self._settings, self._registry, self._began_at, problems, reasons, notes)
        return status_page.render(status)


def _verdict(problems: tuple[str, ...], notes: tuple[str, ...], start_response: StartResponse) -> Iterable[bytes]:
    status = "503 Service Unavailable" if problems else "200 OK"
    return _text(status, "\n".join([*(problems or ("ok",)), *notes]), start_response)


def _text(status: str, text: str, start_response: StartResponse, *headers: tuple[str, str]) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), *headers])
    return [f"{text}\n".encode()]
