"""What can name a gateway: where gRPC would make something else of a name, or look for it in vain, it is refused."""

from __future__ import annotations

import ipaddress
import os
import re

# Of gRPC's names, those that hold host:port, and those that are left to gRPC.
_DNS = "dns"
_UNIX = "unix"
_ADDRESSES = frozenset({"ipv4", "ipv6"})
_OTHER_SCHEMES = frozenset({*_ADDRESSES, _UNIX, "unix-abstract", "vsock", "xds", "google-c2p"})

_URL = re.compile(r"(\w[\w+.-]*)://")
_ADDRESS = re.compile(r"(\[[^\[\]]*\]|[^:]*)(?::([^:]*))?")
_PORT = re.compile(r"0*[1-9][0-9]{0,4}", re.ASCII)
_LAST_PORT = 65_535

# What the path of a socket file may have in bytes; and what ends it, for gRPC reads a URI.
_MAX_PATH = 107
_OF_URIS = frozenset("#?%")

# What no host is called: of a URL, of a list, and beside these what is blank or cannot be seen.
_IN_NO_NAME = frozenset("/\\@?#,")

_SHOULD_BE = "it must be host:port, as in gateway.example:50051 or [::1]:50051, or unix:/path"


def check_target(target: str) -> None:
    """Look at the name of a gateway.

    gRPC itself takes a URL for the name of a host, which may come to be for as long as a call waits, asks on port 443
    where there is none, reduces larger ones modulo 65,536, and goes to another socket file where the path holds `#` or
    `?`.

    Raises:
        ValueError: It cannot be meant.
    """
    url = _URL.match(target)
    if url and url[1] not in {_DNS, *_OTHER_SCHEMES}:
        raise ValueError(f"the target is host:port, without `{url[0]}`: {_SHOULD_BE}")
    scheme = _scheme(target)
    if scheme == _UNIX:
        _check_path(target.removeprefix("unix:"))
    elif scheme in _ADDRESSES:
        for address in target.partition(":")[2].lstrip("/").split(","):
            _check_address(address)
    elif scheme not in _OTHER_SCHEMES:
        _check_address(_address(target))


def check_authority(authority: str) -> None:
    """Look at the name that a gateway goes by, where that is not its target's.

    Raises:
        ValueError: It cannot be one. gRPC sends whatever it is, and what is in between refuses it without saying why.
    """
    if not authority or _stranger_in(authority):
        raise ValueError(f"the authority must be a name, as in gateway.example, and not {authority!a}")


def _stranger_in(name: str) -> str:
    """Return the first character that no host's name has, or nothing."""
    strange = (one for one in name if one in _IN_NO_NAME or one.isspace() or not one.isprintable())
    return next(strange, "")


def _check_path(path: str) -> None:
    if path.startswith("//"):
        path = path[2:]
        if not path.startswith("/"):
            raise ValueError(f"the target has two slashes in front of a path that is relative: {_SHOULD_BE}")
    if path in ("", "/"):
        raise ValueError(f"the target has no path: {_SHOULD_BE}")
    if len(os.fsencode(path)) > _MAX_PATH or _OF_URIS & {*path}:
        raise ValueError(f"the target's path has at most {_MAX_PATH} bytes, and no #, ? or %: {_SHOULD_BE}")


def _check_address(text: str) -> None:
    address = _ADDRESS.fullmatch(text)
    if not address:
        raise ValueError(f"the target has more than one colon, as of a scheme or an IPv6 address: {_SHOULD_BE}")
    host, port = address[1], address[2]
    if not host.strip("[]"):
        raise ValueError(f"the target has no host: {_SHOULD_BE}")
    if stranger := _stranger_in(host):
        raise ValueError(f"the target's host holds {stranger!a}, which no host's name has: {_SHOULD_BE}")
    if not port:
        raise ValueError(f"the target has no port: {_SHOULD_BE}")
    if not _PORT.fullmatch(port) or int(port) > _LAST_PORT:
        raise ValueError(f"the target's port must be a number from 1 to {_LAST_PORT}: {_SHOULD_BE}")


def is_local(target: str) -> bool:
    """Tell whether a target is on this machine by its name."""
    if _scheme(target) in {_UNIX, "unix-abstract"}:
        return True
    return all(map(_is_loopback, _address(target).split(",")))


def _is_loopback(text: str) -> bool:
    address = _ADDRESS.fullmatch(text)
    host = address[1].strip("[]").lower() if address else ""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    # An address of IPv4 in the clothes of IPv6 is that address.
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


def _scheme(target: str) -> str:
    """Return gRPC's own scheme in front of a target; a host may be called like any other."""
    scheme, colon, _ = target.partition(":")
    return scheme if colon and (scheme == _DNS or scheme in _OTHER_SCHEMES) else ""


def _address(target: str) -> str:
    """Return a target without gRPC's scheme and name server."""
    scheme = _scheme(target)
    name = target[len(scheme) + 1 :] if scheme else target
    return name.rpartition("/")[2] if scheme and name.startswith("//") else name
