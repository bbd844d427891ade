"""Where a client differs from the others by its nature: what it shows, as data, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

# What is seen, as a regular expression, and the reason.
Difference: TypeAlias = tuple[str, str]

_NO_CONFIG = "It reads no service config: who wants retries writes them."
_NO_LIMIT = "It has no limit of its own."
_KNOWS = "It knows the server's limit, and does not send the call."
_CUT_OFF = "It pings as often as it is told, and the gateway hangs up: `too_many_pings`."
_LATE_REFUSAL = "With TLS 1.3 a client deems itself connected when it is refused: its call ends as the connection does."

# By case and client.
DIFFERENCES: Mapping[tuple[str, str], Difference] = {
    ("large_page", "connect-go"): ("OK", _NO_LIMIT),
    ("large_page", "connect-node"): ("OK", _NO_LIMIT),
    ("large_page", "grpcio"): ("OK", "grpcio's own limit is 4 MiB; the client in Python has lifted it."),
    ("large_page", "tonic"): ("OUT_OF_RANGE", "Its limit of 4 MiB has a code of its own."),
    ("timeout_on_sleeping_server", "tonic"): (
        "CANCELLED|DEADLINE_EXCEEDED",
        "It calls its own time-out CANCELLED; DEADLINE_EXCEEDED is the gateway's, where that comes first.",
    ),
    ("too_much_metadata", "grpc-go"): ("INTERNAL", _KNOWS),
    ("too_much_metadata", "connect-go"): ("UNAVAILABLE", _KNOWS),
    ("too_much_metadata", "grpc-java"): ("INTERNAL", _KNOWS),
    ("retry_unavailable", "connect-go"): ("1 attempt", _NO_CONFIG),
    ("retry_unavailable", "connect-node"): ("1 attempt", _NO_CONFIG),
    ("retry_unavailable", "tonic"): ("1 attempt", _NO_CONFIG),
    ("restart", "connect-go"): ("0 of 40: .*", _NO_CONFIG),
    ("restart", "connect-node"): ("0 of 40: .*", _NO_CONFIG),
    ("restart", "tonic"): ("0 of 40: .*", _NO_CONFIG),
    ("connection_age", "connect-node"): (
        r"\d+ of 600.*|ended",
        "Asked to connect anew while no call is under way, its process can end by an uncaught error: connect-es#1768.",
    ),
    ("connection_age", "tonic"): (
        r"\d+ of 600.*",
        "A call that begins just when the gateway asks to connect anew can be lost, and no policy retries CANCELLED.",
    ),
    ("eager_keepalive", "connect-go"): ("UNAVAILABLE", _CUT_OFF),
    ("eager_keepalive", "connect-node"): ("INTERNAL", _CUT_OFF),
    ("eager_keepalive", "grpc-js"): ("RESOURCE_EXHAUSTED", _CUT_OFF),
    ("eager_keepalive", "tonic"): ("UNAVAILABLE", _CUT_OFF),
    ("mutual_tls", "connect-go"): ("OK, PERMISSION_DENIED(, (UNAVAILABLE|CANCELLED)){2}", _LATE_REFUSAL),
    ("mutual_tls", "connect-node"): ("OK, PERMISSION_DENIED(, (UNAVAILABLE|CANCELLED)){2}", _LATE_REFUSAL),
    ("mutual_tls", "tonic"): ("OK, PERMISSION_DENIED(, (UNAVAILABLE|CANCELLED|UNKNOWN)){2}", _LATE_REFUSAL),
}
