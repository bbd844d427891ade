"""What a setting is called on the command line and in the environment, and which one a misspelt name may stand for."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

from gateway.settings.model import PREFIX, SECRETS, Settings

CONFIG = "config"  # names the file, and so is none of its settings

# How much of two names has to be the same, and by how much less than the closest another may be.
_ALIKE, _AS_ALIKE = 0.7, 0.05


def flag(name: str) -> str:
    """Return a setting's flag."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Return a setting's environment variable."""
    return PREFIX + name.upper()


def called(name: str) -> str:
    """Return how a setting can be given: by its flag, if it has one, and by its variable."""
    return variable(name) if name in SECRETS else f"{flag(name)} ({variable(name)})"


def likely_meant(misspelt: str, known: Iterable[str] = tuple(Settings.model_fields)) -> list[str]:
    """Return the settings that a misspelt name may stand for, be it one of the file, a variable or a flag.

    Args:
        misspelt: The name.
        known: Those it may stand for.
    """
    name = misspelt.lower().lstrip("-").replace("-", "_").removeprefix(PREFIX.lower())
    alike = {other: SequenceMatcher(None, name, other).ratio() for other in known}
    least = max(_ALIKE, max(alike.values()) - _AS_ALIKE)
    return [other for other, ratio in alike.items() if ratio >= least]
