"""The memory budget of pages fetched ahead: one for all streams, each of which takes shares of it."""

from __future__ import annotations


class ByteBudget:
    """So many bytes for the whole process.

    Args:
        limit: Bytes. What is taken is an estimate at first, so for a while a little more may be in use.

    Attributes:
        used: Bytes that are taken now.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0

    def take(self, size: int) -> Share | None:
        """Take a share; None where less than that is left."""
        if self.used + size > self._limit:
            return None
        return Share(self, size)


class Share:
    """Bytes that were taken, and are given back once: another time changes nothing.

    Args:
        budget: Where they belong.
        size: How many they are.
    """

    def __init__(self, budget: ByteBudget, size: int) -> None:
        self._budget: ByteBudget | None = budget
        self._size = size
        budget.used += size

    def resize(self, size: int) -> None:
        """Say how many they really are; of what was given back, nothing."""
        if self._budget is not None:
            self._budget.used += size - self._size
            self._size = size

    def give_back(self) -> None:
        """Let others have them."""
        budget, self._budget = self._budget, None
        if budget is not None:
            budget.used -= self._size
