"""The HTTP server under the operators' pages: bounded in threads, in time, and in what it does out of descriptors.

It is the standard library's, which gives a client that sends a byte now and then a thread for as long as it likes.
"""

from __future__ import annotations

import errno
import logging
import socket
import socketserver
import threading
import time
from contextlib import suppress
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client.exposition import ThreadingWSGIServer

# Seconds for a request and its answer, after which the connection is closed.
REQUEST_TIMEOUT = 10.0
# Connections at once, each of which has a thread. One more takes the place of the oldest, so that those who do nothing
# keep no probe out.
MAX_CONNECTIONS = 64
# Seconds until the thread of one that was closed has ended.
ROOM_TIMEOUT = 1.0
# Seconds until a connection is accepted again that there was no descriptor or no memory for.
PAUSE = 0.25

_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_log = logging.getLogger(__name__)


class AdminHandler(WSGIRequestHandler):
    """One request."""

    def log_message(self, *args: object) -> None:
        """Say nothing: probes come by the second."""


class AdminServer(ThreadingWSGIServer):
    """Answers each request in a thread of its own."""

    request_queue_size = 128  # probes do not wait behind a burst of others

    def __init__(self, *args: Any) -> None:
        # When each connection is closed, the oldest first.
        self._ends: dict[Any, float] = {}
        self._room = threading.Semaphore(MAX_CONNECTIONS)
        self._closed = threading.Event()
        super().__init__(*args)

    def server_bind(self) -> None:
        """Bind, without a look at the DNS for a name that nobody asks for."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def get_request(self) -> Any:
        """Accept a connection."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in _OUT_OF:  # it would be tried again at once, over and over
                self._closed.wait(PAUSE)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a connection's thread."""
        if not self._make_room():
            self.shutdown_request(request)
            return
        self._ends[request] = time.monotonic() + REQUEST_TIMEOUT
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # there is no room for a thread
            self._end(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, in the connection's thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._end(request)

    def service_actions(self) -> None:
        """Close connections whose time has passed; called several times a second."""
        now = time.monotonic()
        for request, ends in list(self._ends.items()):
            if now >= ends:
                self._hang_up(request)

    def shutdown(self) -> None:
        """Accept no more connections."""
        self._closed.set()
        super().shutdown()

    def server_close(self) -> None:
        """Close all connections too."""
        for request in list(self._ends):
            self._hang_up(request)
        super().server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say little of clients that hang up."""
        _log.debug("a request to the admin address broke off", exc_info=True)

    def _make_room(self) -> bool:
        if self._room.acquire(blocking=False):
            return True
        for oldest in list(self._ends)[:1]:
            self._hang_up(oldest)
        return self._room.acquire(timeout=ROOM_TIMEOUT)

    def _hang_up(self, request: Any) -> None:
        """End what a thread waits for; the thread closes the connection itself."""
        self._ends.pop(request, None)
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)

    def _end(self, request: Any) -> None:
        self._ends.pop(request, None)
        self._room.release()


class AdminServerV6(AdminServer):
    """As AdminServer, on an address of IPv6."""

    address_family = socket.AF_INET6
