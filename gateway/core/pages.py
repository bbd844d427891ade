"""A page of the list, converted: as one reply, or row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gateway.core.content_range import ContentRange
from gateway.core.filter import Page
from gateway.core.row_decoding import Identity


class SerializedPage(NamedTuple):
    """One page as a serialized ListReposResponse, and how many rows it has."""

    message: bytes
    rows: int = 0


@dataclass(frozen=True, slots=True)
class RowPage:
    """One page, row by row.

    Attributes:
        page: The page that was asked for.
        fields: Each row as a serialized `repos` field, which ListReposResponse and StreamReposResponse share.
        identities: What tells each row from others.
        position: Where the page lies among all matches, where that is known.
        claimed: Whether the upstream says itself that this is the page that was asked for.
    """

    page: Page
    fields: list[bytes]
    identities: list[Identity]
    position: ContentRange | None
    claimed: bool = False
