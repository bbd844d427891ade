"""What keeps a gateway from starting."""

from __future__ import annotations


class ListenError(Exception):
    """An address that cannot be listened on.

    Args:
        setting: The flag that named it.
        address: The address.
        problem: Why not.
    """

    def __init__(self, setting: str, address: str, problem: str) -> None:
        super().__init__(f"{setting}: cannot listen on {address}: {problem}")
