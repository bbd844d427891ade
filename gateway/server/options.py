"""How gRPC's core is set up: limits, and connections that fit a mesh."""

from __future__ import annotations

from gateway.settings.model import Settings

# A request is a handful of short texts.
MAX_REQUEST_BYTES = 64 * 1024
# A caller's own token has up to 20,000 characters, and the default of 8 KiB would refuse it.
MAX_METADATA_BYTES = 32 * 1024
# Milliseconds. Proxies ping every 10 s and more; who pings faster than this is cut off with `too_many_pings`, and the
# default of 5 minutes would cut off all of them.
MIN_PING_INTERVAL = 5_000
# Milliseconds after which a silent connection is asked whether it is still there: load balancers drop idle ones, some
# after a minute, and tell nobody.
KEEPALIVE_TIME = 50_000
KEEPALIVE_TIMEOUT = 20_000

# Seconds after which calls that are not taken up are dropped. A machine that stood still has callers who wait for it.
MAX_UNREQUESTED = 24 * 3600

_MOST = 2**31 - 1

_FIXED = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    # gRPC drops calls that come faster than they are taken up, with a bare CANCELLED: from 1000 on some, from 3000 on
    # all, and whatever has waited for 30 s. Overload is ours to answer.
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 30_000),
    ("grpc.server_max_unrequested_time_in_server", MAX_UNREQUESTED),
    # It counts calls that have ended and are not cleared away yet among those at once, and refuses others: of a burst
    # that keeps to the limit two thirds would be UNAVAILABLE.
    ("grpc.http.overload_protection", 0),
    ("grpc.keepalive_time_ms", KEEPALIVE_TIME),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL),
)


def server_options(settings: Settings, *, shares_port: bool) -> tuple[tuple[str, int], ...]:
    """Return the options of the server.

    Args:
        settings: Those of the gateway.
        shares_port: Whether other processes of the same gateway listen on its ports too. Where not, a port that
            somebody listens on is an error.
    """
    limits = (("grpc.max_concurrent_streams", min(settings.max_concurrent_streams, _MOST)),)
    return (*_FIXED, *limits, ("grpc.so_reuseport", int(shares_port)), *_age(settings))


def _age(settings: Settings) -> tuple[tuple[str, int], ...]:
    """Return when connections end.

    gRPC itself spreads the ages by a tenth. Calls that have been taken go on until the grace has passed, and the
    connection ends with the last one: what is still there then is a reader that stands still, or a watch, which its
    client begins anew. Calls that are just beginning are lost by some client libraries: docs/interop.md has which.
    """
    ages = (
        ("grpc.max_connection_age_ms", settings.max_connection_age),
        ("grpc.max_connection_age_grace_ms", settings.max_connection_age_grace if settings.max_connection_age else 0.0),
    )
    return tuple((name, min(int(seconds * 1000), _MOST)) for name, seconds in ages if seconds)
