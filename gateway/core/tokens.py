"""What can be a token, and when the upstream says that one has expired."""

from __future__ import annotations

import re

from gateway.core.errors import GatewayError

# gRPC metadata in which a caller brings a token of its own.
CALLER_TOKEN = "x-auth-token"

_EXPIRED = "SVCSTG.SWR.4010000"
_EXPIRED_TOKEN = re.compile(r"\btoken\b.{0,40}\bexpire", re.IGNORECASE)


def is_token(text: str) -> bool:
    """Tell whether a text can be sent as a credential's header: visible ASCII, no blanks, not empty."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def says_expired(error: GatewayError) -> bool:
    """Tell whether an answer means that the credential was good once: only then may a new one help.

    SWR has a code for it. The API gateway has one code for all that can be wrong with a credential, and words: other
    things expire too, such as accounts.
    """
    return error.http_status == 401 and (
        error.upstream_code == _EXPIRED or _EXPIRED_TOKEN.search(error.message) is not None
    )
