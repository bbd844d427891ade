"""What a setting is called on the command line and in the environment."""

from __future__ import annotations

from gateway.settings.model import PREFIX


def flag(name: str) -> str:
    """Return a setting's flag."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Return a setting's environment variable."""
    return PREFIX + name.upper()
