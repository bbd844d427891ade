"""How a channel to the gateway is set up: what it retries, how it notices a dead connection, what it accepts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import grpc

from swr_gateway_client.target import is_local

Options: TypeAlias = Sequence[tuple[str, Any]]

# Stubs in other languages take the same text. It names ListRepos alone: a channel could only start a stream over, and
# only before its first message; `resume` goes on behind the last one, and two layers would multiply their attempts.
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
    # And in the end once in two minutes, while calls wait for a gateway that is back already.
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A page may pass the default of 4 MiB, and it was asked for.
    ("grpc.max_receive_message_length", -1),
)


def channel_options(target: str, authority: str | None, options: Options) -> Options:
    """Return the channel arguments of gRPC for a gateway.

    Args:
        target: Its address.
        authority: Its name, where it is not the target's.
        options: What wins over this module's own.
    """
    return tuple((dict(_OPTIONS) | _options_of(target, authority) | dict(options)).items())


def open_channel(target: str, tls: grpc.ChannelCredentials | None, options: Options) -> grpc.aio.Channel:
    """Open a channel inside an event loop; nothing is connected before the first call."""
    if tls is None:
        return grpc.aio.insecure_channel(target, options)
    return grpc.aio.secure_channel(target, tls, options)


def open_sync_channel(target: str, tls: grpc.ChannelCredentials | None, options: Options) -> grpc.Channel:
    """Open a channel without an event loop; nothing is connected before the first call."""
    if tls is None:
        return grpc.insecure_channel(target, options)
    return grpc.secure_channel(target, tls, options)


def _options_of(target: str, authority: str | None) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    if is_local(target):
        # The proxy of the environment is for what is elsewhere; gRPC alone would ask it for this machine too.
        chosen["grpc.enable_http_proxy"] = 0
    if target.startswith("unix:"):
        # Without a name of its own, a socket file's path would have to stand in the certificate.
        chosen["grpc.default_authority"] = "localhost"
    if authority is not None:
        chosen["grpc.default_authority"] = authority
    return chosen
