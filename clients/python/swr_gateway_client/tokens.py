"""What can be a token: the rule of the gateway itself, which a test holds this to."""

from __future__ import annotations

# gRPC metadata in which a caller brings a token of its own.
CALLER_TOKEN = "x-auth-token"


def is_token(text: str) -> bool:
    """Tell whether a text can be sent as a credential's header: visible ASCII, no blanks, not empty."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
