"""The addresses that gRPC's server listens on."""

from __future__ import annotations

import grpc

from gateway.server.socket_file import check_socket_file
from gateway.server.starting import start_whole
from gateway.server.tls import ServerTls
from gateway.start_errors import ListenError


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
    try:
        # gRPC would take a socket file from whoever serves it, without a word.
        check_socket_file(address)
        port = server.add_secure_port(address, tls.credentials()) if tls else server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    if not port:
        is_file = address.startswith("unix:")
        problem = "its folder is missing or closed" if is_file else "not an address of this machine"
        raise ListenError("--listen", address, f"address in use, or {problem}")
    return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
