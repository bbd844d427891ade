"""Why no connection to the gateway came about, read from the words in which gRPC's library says it."""

from __future__ import annotations

from enum import Enum


class ConnectionFault(Enum):
    """What kept a call from reaching the gateway; the value says it in words."""

    NO_LISTENER = "nobody listens there"
    NO_SUCH_HOST = "there is no address for the host's name"
    NOT_IN_TIME = "no connection came about in time"
    HUNG_UP = "what listens there hung up on the connection before it was set up"
    NOT_HTTP2 = "what listens there does not speak gRPC's HTTP/2"
    NOT_TLS = "what listens there does not speak TLS"
    CERTIFICATE_UNTRUSTED = "its certificate is not trusted"
    CERTIFICATE_OUTDATED = "its certificate has expired, or is not valid yet"
    CERTIFICATE_NAME = "its certificate is not for this name"
    UNUSABLE_CREDENTIALS = "the certificates and the key that the client was given cannot be used, or not together"
    PROXY_REFUSED = "the proxy that the environment names did not let the connection through"


# Another try of the same client would fail of these in the same way.
LASTING = frozenset(
    {
        ConnectionFault.NOT_TLS,
        ConnectionFault.CERTIFICATE_UNTRUSTED,
        ConnectionFault.CERTIFICATE_OUTDATED,
        ConnectionFault.CERTIFICATE_NAME,
        ConnectionFault.UNUSABLE_CREDENTIALS,
    }
)

# How texts begin that the library itself made, having no connection.
_BEGINNINGS = ("failed to connect to all addresses; last error: ", "errors resolving ")

# The first that occurs counts. The library has no codes for them; tests look at each with real sockets.
_SAYINGS = (
    ("errors resolving ", ConnectionFault.NO_SUCH_HOST),
    ("HTTP proxy returned response code", ConnectionFault.PROXY_REFUSED),
    ("Connection refused", ConnectionFault.NO_LISTENER),
    ("No such file or directory", ConnectionFault.NO_LISTENER),
    ("Failed parsing HTTP/2", ConnectionFault.NOT_HTTP2),
    ("missing selected ALPN property", ConnectionFault.NOT_HTTP2),
    ("WRONG_VERSION_NUMBER", ConnectionFault.NOT_TLS),
    ("certificate has expired", ConnectionFault.CERTIFICATE_OUTDATED),
    ("certificate is not yet valid", ConnectionFault.CERTIFICATE_OUTDATED),
    ("CERTIFICATE_VERIFY_FAILED", ConnectionFault.CERTIFICATE_UNTRUSTED),
    ("Hostname Verification Check failed", ConnectionFault.CERTIFICATE_NAME),
    ("Failed to create security handshaker", ConnectionFault.UNUSABLE_CREDENTIALS),
    ("Socket closed", ConnectionFault.HUNG_UP),
    ("Connection reset by peer", ConnectionFault.HUNG_UP),
    ("timed out", ConnectionFault.NOT_IN_TIME),
    ("tcp handshaker shutdown", ConnectionFault.NOT_IN_TIME),
    ("Endpoint closing", ConnectionFault.NOT_IN_TIME),
)


def find_fault(message: str) -> ConnectionFault | None:
    """Read the message of a call that was UNAVAILABLE and brought nothing from a server.

    Returns:
        None where it says nothing of the connection, or nothing that is known.
    """
    if not message.startswith(_BEGINNINGS):
        return None
    return next((fault for saying, fault in _SAYINGS if saying in message), None)
