"""Hosts, addresses that are listened on, origins that are connected to: what can be one, and which are the same.

`localhost`, an IP address, a wildcard and a path are told apart by their text alone: no name is looked up.
"""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

from gateway.settings.spelling import Spelling

# Bytes that the kernel takes as the path of a socket file, without the one that ends it. gRPC hands it `//path` of
# `unix:///path` as it stands.
MAX_SOCKET_PATH = 107
MAX_HOST_LENGTH = 253

_LAST_PORT = 65535
_HOST = r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])"
_HOST_PORT = re.compile(rf"({_HOST}):(\d{{1,5}})", re.ASCII)
_ORIGIN = re.compile(rf"(?i:(https?))://(({_HOST})(?::(\d{{1,5}}))?)/?", re.ASCII)
_LABEL = re.compile(r"[\w-]{1,63}", re.ASCII)
# What resolvers read as an address of IPv4 in one of its old spellings: `1.2.3` as 1.2.0.3, `0x7f000001` as 127.0.0.1.
_NUMBERS = re.compile(r"(?:\d+|0[xX][0-9A-Fa-f]*)(?:\.(?:\d+|0[xX][0-9A-Fa-f]*))*\.?", re.ASCII)
# gRPC reads `unix:` as the beginning of a URI: `%41` is an A there, and its clients find no path that has one of the
# others in it.
_OF_URIS = "#?%,"

_IMPLIED_PORTS = {"http": 80, "https": 443}

_BAD_ADDRESS = "must be host:port or unix:/path, several by comma"
_BAD_HTTP_ADDRESS = "must be host:port, or empty for none"
_BAD_NAME = "the host must be a name whose labels, between its dots, have 1 to 63 characters, and 253 in all"
_BAD_SOCKET_LENGTH = f"a unix:/path may have {MAX_SOCKET_PATH} bytes, which is what the system takes"
_BAD_SOCKET_PATH = "a unix:/path must not hold #, ?, %, a comma or a control character: gRPC reads it as a URI"
_BAD_IPV4 = "the host must be a name, or an IP address such as 127.0.0.1"


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a host, by its name or address alone."""
    address = _read_ip(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def is_local(address: str) -> bool:
    """Tell whether only this machine reaches what listens on an address."""
    return address.startswith("unix:") or is_loopback(address.rpartition(":")[0])


def collide(one: str, other: str) -> bool:
    """Tell whether two addresses cannot both be listened on.

    They are the same socket file, though spelled differently, or the same port of the same host: `localhost` is both
    loopback addresses, a wildcard is every host, and port 0 is never the same.
    """
    if one.startswith("unix:") or other.startswith("unix:"):
        return socket_path(one) == socket_path(other)
    host, _, port = one.rpartition(":")
    other_host, _, other_port = other.rpartition(":")
    if int(port) != int(other_port) or not int(port):
        return False
    return _is_wildcard(host) or _is_wildcard(other_host) or not _hosts(host).isdisjoint(_hosts(other_host))


def host_port(origin: str) -> str:
    """Return the address of an origin, with the port that its scheme implies where it has none."""
    scheme, _, address = origin.partition("://")
    return address if address.rpartition(":")[2].isdecimal() else f"{address}:{_IMPLIED_PORTS[scheme]}"


def socket_path(address: str) -> str:
    """Return the path of a socket file without links and detours; empty for an address that is none."""
    if not address.startswith("unix:"):
        return ""
    return os.path.realpath("/" + address.removeprefix("unix:").lstrip("/"))


def check_host_port(address: str, otherwise: str) -> None:
    """Look at an address to listen on.

    Args:
        address: The address.
        otherwise: What it must be.

    Raises:
        ValueError: It is something else.
    """
    match = _HOST_PORT.fullmatch(address)
    if match is None or not _has_good_brackets(match[1]) or int(match[2]) > _LAST_PORT:
        raise ValueError(otherwise)
    _check_host(match[1])


def _is_wildcard(host: str) -> bool:
    address = _read_ip(host)
    return address is not None and address.is_unspecified


def _hosts(host: str) -> set[str]:
    """Return what a host is called, and as an address only once."""
    name = host.lower().removesuffix(".")
    return {"127.0.0.1", "::1"} if name == "localhost" else {str(_read_ip(host) or name)}


def _read_ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    # An address of IPv4 in the clothes of IPv6 is that address.
    return getattr(address, "ipv4_mapped", None) or address


def _read_addresses(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    if not isinstance(value, list | tuple):
        raise ValueError(_BAD_ADDRESS)  # noqa: TRY004 - told among the other problems
    return value


def _check_addresses(addresses: tuple[str, ...]) -> tuple[str, ...]:
    if not addresses:
        raise ValueError(_BAD_ADDRESS)
    for address in addresses:
        if address.startswith("unix:"):
            _check_socket(address.removeprefix("unix:"))
        else:
            check_host_port(address, _BAD_ADDRESS)
    return addresses


def _check_socket(path: str) -> None:
    # `unix://host/path` has a host in it, and `unix:///path` has none.
    if not re.match(r"/(?!/)|///", path) or path.endswith("/"):
        raise ValueError(_BAD_ADDRESS)
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise ValueError(_BAD_SOCKET_LENGTH)
    if not path.isprintable() or any(character in path for character in _OF_URIS):
        raise ValueError(_BAD_SOCKET_PATH)


def _has_good_brackets(host: str) -> bool:
    """Tell whether what stands in brackets, if anything does, is an address of IPv6."""
    if not host.startswith("["):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).version == 6
    except ValueError:
        return False


def _check_host(host: str) -> None:
    """Refuse names that Python's resolver breaks down on, and addresses that are read as others."""
    if host.startswith("["):
        return
    if _NUMBERS.fullmatch(host) and _read_ip(host) is None:
        raise ValueError(_BAD_IPV4)
    labels = host.removesuffix(".").split(".")
    if len(host) > MAX_HOST_LENGTH or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(_BAD_NAME)


def _check_http_address(address: str) -> str:
    if address.startswith("unix:"):
        raise ValueError(_BAD_HTTP_ADDRESS)
    check_host_port(address, _BAD_HTTP_ADDRESS)
    return address


def _check_origin(url: str) -> str:
    match = _ORIGIN.fullmatch(url)
    if match is None or not _has_good_brackets(match[3]) or not 1 <= int(match[4] or 1) <= _LAST_PORT:
        raise ValueError("must be http(s)://host[:port], with no path, query or credentials")
    _check_host(match[3])
    return f"{match[1].lower()}://{match[2]}"


def _check_region(region: str) -> str:
    # It becomes a label of a host name.
    if not re.fullmatch(r"(?=.{1,63}$)[a-z0-9]+(?:-[a-z0-9]+)*", region, re.ASCII):
        raise ValueError("must be a region such as cn-north-4")
    return region


Addresses = Annotated[
    tuple[str, ...],
    Spelling("HOST:PORT,..."),
    BeforeValidator(_read_addresses),
    AfterValidator(_check_addresses),
    PlainSerializer(",".join),
]
HttpAddress = Annotated[str, Spelling("HOST:PORT"), AfterValidator(_check_http_address)]
Origin = Annotated[str, Spelling("URL"), AfterValidator(_check_origin)]
Region = Annotated[str, Spelling("REGION"), AfterValidator(_check_region)]
