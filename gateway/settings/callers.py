"""The variables that `swr-gateway list` reads: with the gateway's prefix, and none of its settings.

None is called like a setting. An environment that a gateway and its callers share must not have a caller show the
gateway's certificate, or send the gateway's token to whatever it calls.
"""

from __future__ import annotations

CALLER_VARIABLES = frozenset(
    {
        "SWR_GATEWAY_TARGET",
        "SWR_GATEWAY_TARGET_AUTHORITY",
        "SWR_GATEWAY_TARGET_TOKEN",
        "SWR_GATEWAY_TARGET_TLS",
        "SWR_GATEWAY_TARGET_TLS_CA",
        "SWR_GATEWAY_TARGET_TLS_CERT",
        "SWR_GATEWAY_TARGET_TLS_KEY",
    }
)
