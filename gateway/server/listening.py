"""The addresses that gRPC's server listens on."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import grpc

from gateway.server.loopback import addresses_of, port_of
from gateway.server.socket_file import check_socket_file
from gateway.server.starting import start_whole
from gateway.server.tls import ServerTls
from gateway.start_errors import ListenError

_UNKNOWN = "gRPC refuses it; with GRPC_VERBOSITY=INFO it prints why"


async def listen(server: grpc.aio.Server, addresses: tuple[str, ...], tls: ServerTls | None) -> tuple[str, ...]:
    """Have a server that has not started listen on all addresses or on none.

    Args:
        server: The server.
        addresses: `host:port`, or `unix:/path`.
        tls: What they are secured with; None for plain text.

    Returns:
        The same, with the ports that were chosen for `:0`.

    Raises:
        ListenError: An address cannot be listened on.
    """
    try:
        return tuple(_add(server, address, tls) for address in addresses)
    except BaseException:
        # gRPC keeps the ports of a server that never started, also when it is stopped or forgotten.
        await start_whole(server)
        await server.stop(None)
        raise


def _add(server: grpc.aio.Server, address: str, tls: ServerTls | None) -> str:
    # gRPC would take a socket file from whoever serves it, without a word.
    check_socket_file(address)
    if address.startswith("unix:"):
        if not _bind(server, address, tls):
            raise ListenError("--listen", address, _problem_of_path(address.removeprefix("unix:")))
        return address
    host, _, given_port = address.rpartition(":")
    hosts = addresses_of(host)
    with port_of(hosts, int(given_port)) as chosen:
        port = chosen
        for one in hosts:
            bound = _bind(server, f"{one}:{port}", tls)
            if not bound:
                named = address if one == host else f"{address}, which is {one}:{port}"
                raise ListenError("--listen", named, _problem_of_port(one, port))
            port = bound
    return f"{host}:{port}"


def _bind(server: grpc.aio.Server, address: str, tls: ServerTls | None) -> int:
    """Return the port of an address, any number of a socket file, and 0 of one that cannot be listened on."""
    try:
        return server.add_secure_port(address, tls.credentials()) if tls else server.add_insecure_port(address)
    except RuntimeError:
        return 0


def _problem_of_port(host: str, port: int) -> str:
    """Return why a port cannot be listened on, which gRPC does not tell."""
    try:
        for family, kind, *_, where in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind) as probe:
                # As gRPC does it: connections of a gateway that has just ended are no reason.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(where)
    except OSError as error:
        return error.strerror or _UNKNOWN
    return _UNKNOWN


def _problem_of_path(path: str) -> str:
    """Return why a socket file cannot be made; one that was left behind is replaced, and is no reason."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(path)
        except OSError as error:
            is_there = error.errno == errno.EADDRINUSE
            return "something that is no socket is there already" if is_there else error.strerror or _UNKNOWN
    Path(path).unlink()
    return _UNKNOWN
