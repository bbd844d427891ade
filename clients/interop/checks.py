"""What a case holds clients and gateway to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable


class WrongError(Exception):
    """A client, or the gateway, did not do what a case is about."""


def expect(holds: object, otherwise: str) -> None:
    """Hold a case to a condition.

    Raises:
        WrongError: It does not hold.
    """
    if not holds:
        raise WrongError(otherwise)


def same(seen: object, wanted: object, what: str) -> None:
    """Hold a case to a value.

    Raises:
        WrongError: It is another one.
    """
    expect(seen == wanted, f"{what} is {seen!r} and not {wanted!r}")


async def comes(event: Awaitable[object], what: str, within: float = 20.0) -> None:
    """Wait for what has to come.

    Raises:
        WrongError: It did not.
    """
    try:
        async with asyncio.timeout(within):
            await event
    except TimeoutError:
        raise WrongError(f"after {within:.0f} s {what} has not come") from None
