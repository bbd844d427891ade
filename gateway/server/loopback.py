"""`localhost`, which is two addresses: a port of it is one of both."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

_LOOPBACK = ("127.0.0.1", "[::1]")
# A port that is free on one address is taken on the other once in some thousand times.
_TRIES = 10


def addresses_of(host: str) -> tuple[str, ...]:
    """Return the addresses of `localhost`, as far as the machine has them, or any other host as it is.

    To gRPC it is both, whatever the resolver says. It is content with listening on one, and callers would come to
    whoever has the same port of the other.
    """
    if host.lower().removesuffix(".") != "localhost":
        return (host,)
    return tuple(one for one in _LOOPBACK if _has(one)) or (host,)


@contextmanager
def port_of(addresses: Sequence[str], given: int) -> Iterator[int]:
    """Yield the port to listen on: for 0, one that is free on all of several addresses, and held for who listens there.

    It stays 0, for which the kernel chooses, of one address, and where none was found in a few tries.
    """
    with ExitStack() as held:
        yield given or (_hold_one(addresses, held) if len(addresses) > 1 else 0)


def _hold_one(addresses: Sequence[str], held: ExitStack) -> int:
    for _ in range(_TRIES):
        with ExitStack() as found, suppress(OSError):
            port = 0
            for address in addresses:
                port = _bind(address, port, found)
            held.enter_context(found.pop_all())
            return port
    return 0


def _has(address: str) -> bool:
    try:
        with ExitStack() as held:
            _bind(address, 0, held)
    except OSError:
        return False
    return True


def _bind(address: str, port: int, held: ExitStack) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = held.enter_context(socket.socket(family, socket.SOCK_STREAM))
    bound.bind((address.strip("[]"), port))
    # From here on, for servers, which take up addresses again, and still for nobody else.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return int(bound.getsockname()[1])
