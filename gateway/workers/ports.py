"""Ports that processes of one gateway share, and nobody else."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from gateway.server.loopback import addresses_of, port_of
from gateway.start_errors import ListenError


class SharedPorts:
    """Holds ports for workers to listen on, as a context manager.

    The kernel lets any process of the same user join a shared port. So a port is taken alone first, which fails where
    somebody listens already, and then held, bound but not listened on, for as long as there are workers.

    Args:
        addresses: `host:port`; port 0 is one that is free.

    Attributes:
        addresses: The same, with the ports that were chosen for 0. Known inside the context.
    """

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self.addresses = addresses
        self._held = ExitStack()

    def __enter__(self) -> Self:
        """Take the ports.

        Raises:
            ListenError: One is in use, or is no port of this machine.
        """
        with ExitStack() as held:
            self.addresses = tuple(_hold(address, held) for address in self.addresses)
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()


def _hold(address: str, held: ExitStack) -> str:
    host, _, given_port = address.rpartition(":")
    hosts = addresses_of(host)
    try:
        found = [one for name in hosts for one in socket.getaddrinfo(name.strip("[]"), 0, type=socket.SOCK_STREAM)]
        ours = [(family, where) for family, *_, where in found if _is_ours(family, where[0])]
        with port_of(hosts, int(given_port)) as chosen:
            port = chosen
            for family, (name, _, *rest) in ours:
                port = _take(family, (name, port, *rest), held)
    except OSError as error:
        raise ListenError("--listen", address, error.strerror or "not an address of this machine") from error
    if not ours:
        raise ListenError("--listen", address, "not an address of this machine")
    return f"{host}:{port}"


def _take(family: int, where: tuple[str | int, ...], held: ExitStack) -> int:
    """Hold a port of one address; return its number."""
    with socket.socket(family, socket.SOCK_STREAM) as alone:
        # Connections of a gateway that has just ended are no reason to wait a minute.
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind(where)
        name, port, *rest = alone.getsockname()
        shared = held.enter_context(socket.socket(family, socket.SOCK_STREAM))
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # As above; but only to bind, for whoever has it too may take a port that is held and not listened on.
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        shared.bind((name, port, *rest))
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return int(port)


def _is_ours(family: int, host: str | int) -> bool:
    """Tell whether a machine has an address: of a name's some may be of IPv6, and the machine without it."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True
