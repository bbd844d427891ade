"""Socket files that are in use."""

from __future__ import annotations

import errno
import os
import socket

from gateway.start_errors import ListenError

# What a connection meets where nobody serves: no such file, no such folder, or a file that a process left behind.
_NOT_SERVED = (errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED)


def check_socket_file(address: str) -> None:
    """Make sure that nobody serves a `unix:/path`; other addresses are none.

    Raises:
        ListenError: Somebody does, or it cannot be told: a busy server does not accept, and one of another user or of
            another kind of socket cannot be asked.
    """
    if not address.startswith("unix:"):
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        problem = probe.connect_ex(address.removeprefix("unix:"))
    if problem == 0:
        raise ListenError("--listen", address, "address in use: another process serves this socket")
    if problem not in _NOT_SERVED:
        raise ListenError("--listen", address, f"it cannot be told whether it is in use: {os.strerror(problem)}")
