"""Where a client differs from the others by its nature: what it shows, as data, and why."""

from __future__ import annotations

# By case and client: what is seen, as a regular expression, and the reason.
DIFFERENCES: dict[tuple[str, str], tuple[str, str]] = {
    ("large_page", "grpcio"): ("OK", "grpcio's own limit is 4 MiB; the client in Python has lifted it."),
    ("large_page", "connect-go"): ("OK", "It has no limit of its own: `connect.WithReadMaxBytes` sets one."),
    ("too_much_metadata", "grpc-go"): ("INTERNAL", "It knows the server's limit, and does not send the call."),
    ("too_much_metadata", "grpc-java"): ("INTERNAL", "Netty knows the server's limit, and does not send the call."),
    ("too_much_metadata", "connect-go"): (
        "UNAVAILABLE",
        "net/http knows the server's limit, and does not send the call; UNAVAILABLE looks as if a retry could help.",
    ),
    ("retry_unavailable", "connect-go"): ("1 attempts", "It reads no service config: who wants retries writes them."),
    ("restart", "connect-go"): ("0 of 40: UNAVAILABLE", "It reads no service config: who wants retries writes them."),
    ("eager_keepalive", "connect-go"): (
        "UNAVAILABLE",
        "net/http pings as often as it is told, and the gateway hangs up: `too_many_pings`.",
    ),
    ("mutual_tls", "connect-go"): (
        "OK, PERMISSION_DENIED, (UNAVAILABLE|CANCELLED), (UNAVAILABLE|CANCELLED)",
        "With TLS 1.3 the refusal comes when the client deems itself connected: its call may end as CANCELLED.",
    ),
}
