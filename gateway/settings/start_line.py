"""What the log says of the settings when a gateway serves, beside its addresses."""

from __future__ import annotations

from gateway import __version__
from gateway.settings.model import Settings


def start_fields(settings: Settings) -> dict[str, str | int]:
    """Return what tells one gateway from another at a glance."""
    tls = "mutual" if settings.tls_client_ca else "on" if settings.tls_cert else "off"
    return {
        "version": __version__,
        "auth": settings.auth.value,
        "dialect": settings.dialect.value,
        "tls": tls,
        "workers": settings.workers,
    }
