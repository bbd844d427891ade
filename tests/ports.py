"""Ports that nobody else is given: one that was free a moment ago may be anybody's by now."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_port() -> Iterator[int]:
    """Hold a port of 127.0.0.1 for the time of a `with` block: bound, and not listened on, so connections are refused.

    Whoever names it may listen on it meanwhile, also again and again: to the kernel that is taking an address up again
    (SO_REUSEADDR), as all servers here do. It gives the port to nobody who takes any, nor to connections of their own.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
