"""What a call asks for, made from a caller's arguments."""

from __future__ import annotations

from typing import TypeAlias

from swr_gateway_client.v1 import repos_pb2

# The upstream's own, where it is asked for no page.
DEFAULT_LIMIT = 100

# Whose repositories, in the upstream's words.
CENTERS = {"self": repos_pb2.CENTER_SELF, "thirdparty": repos_pb2.CENTER_THIRD_PARTY}

# One of these words, or a member of the protocol's enum.
AnyCenter: TypeAlias = "str | repos_pb2.Center.ValueType"


def list_request(
    center: AnyCenter, namespace: str, name: str, category: str, offset: int, limit: int
) -> repos_pb2.ListReposRequest:
    """Ask for one page.

    Raises:
        ValueError: A number does not fit into 32 bits, or there is no such center.
    """
    wanted = _filter(center, namespace, name, category)
    return repos_pb2.ListReposRequest(filter=wanted, offset=offset, limit=limit)


def stream_request(
    center: AnyCenter, namespace: str, name: str, category: str, page_size: int | None, start_offset: int
) -> repos_pb2.StreamReposRequest:
    """Ask for the whole list.

    Raises:
        ValueError: As of `list_request`.
    """
    wanted = _filter(center, namespace, name, category)
    return repos_pb2.StreamReposRequest(filter=wanted, page_size=page_size, start_offset=start_offset)


def _filter(center: AnyCenter, namespace: str, name: str, category: str) -> repos_pb2.RepoFilter:
    if isinstance(center, str):
        if center not in CENTERS:
            raise ValueError(f"there is no center {center!r}; there are {', '.join(map(repr, CENTERS))}")
        center = CENTERS[center]
    return repos_pb2.RepoFilter(center=center, namespace=namespace, name=name, category=category)
