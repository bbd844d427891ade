"""Who calls, as gRPC knows it of the connection."""

from __future__ import annotations

from typing import Any

import grpc


def peer_name(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Return what the caller's certificate calls it: a SPIFFE id, else its first name; empty without one."""
    shown = context.auth_context()
    names = (*shown.get("peer_spiffe_id", ()), *shown.get("peer_dns", ()), *shown.get("x509_common_name", ()))
    return names[0].decode(errors="replace") if names else ""
