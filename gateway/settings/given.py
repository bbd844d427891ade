"""What was given, and where: what rules between settings look at."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from gateway.settings.model import Settings
from gateway.settings.names import called


@dataclass(frozen=True)
class Given:
    """What was given.

    Attributes:
        settings: Those that are good by themselves; the others have their defaults.
        names: Those that were given, good or bad.
        unknown: Those whose value cannot be told, for which no rule is broken: bad ones, those that a misspelt name may
            stand for, and, where the file cannot be read, all that it may hold.
        places: Where each was given.
    """

    settings: Settings
    names: AbstractSet[str]
    unknown: AbstractSet[str]
    places: Mapping[str, str]

    def has(self, *names: str) -> bool:
        """Tell whether all of some settings were given."""
        return set(names) <= self.names

    def lacks(self, *names: str) -> bool:
        """Tell whether none of some settings was given, not even in a way that cannot be read."""
        return (self.names | self.unknown).isdisjoint(names)

    def knows(self, *names: str) -> bool:
        """Tell whether the values of some settings are known, their defaults among them."""
        return self.unknown.isdisjoint(names)

    def place(self, *names: str) -> str:
        """Return where some settings were given, or how they can be."""
        return ", ".join(dict.fromkeys(self.places.get(name) or called(name) for name in names))
