"""How a channel to the gateway is set up: what it retries, how it notices a dead connection, what it accepts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import grpc

Options: TypeAlias = Sequence[tuple[str, Any]]

# Stubs in other languages take the same text. It names ListRepos alone: a channel could only start a stream over, and
# only before its first message; gateway.client.resume goes on behind the last one, and two layers would multiply their
# attempts.
SERVICE_CONFIG = Path(__file__).with_name("service_config.json").read_text("utf-8")

_OPTIONS: Options = (
    ("grpc.service_config", SERVICE_CONFIG),
    # Servers that were told nothing else hang up on who pings more often than every 5 minutes. The sixth minute is for
    # the time that pings spend on their way, which makes some of them arrive closer together.
    ("grpc.keepalive_time_ms", 360_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # By default a channel tries to connect once a second at first, and every retry would meet the same failed try.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # A page may pass the default of 4 MiB, and it was asked for.
    ("grpc.max_receive_message_length", -1),
)


def open_channel(target: str, tls: grpc.ChannelCredentials | None, options: Options) -> grpc.aio.Channel:
    """Open a channel; nothing is connected before the first call.

    Args:
        target: The gateway: `host:port`, `unix:/path`, or any other name that gRPC resolves.
        tls: What the connection is secured with; None for plain text.
        options: Channel arguments of gRPC; they win over those of this module.
    """
    # Without a name of its own, a socket file's path would have to stand in the certificate.
    local = {"grpc.default_authority": "localhost"} if target.startswith("unix:") else {}
    together = tuple((dict(_OPTIONS) | local | dict(options)).items())
    if tls is None:
        return grpc.aio.insecure_channel(target, together)
    return grpc.aio.secure_channel(target, tls, together)
