"""Fields of the log line of a gateway that begins to serve: its version, and the settings that tell it from others."""

from __future__ import annotations

from gateway import __version__
from gateway.settings.model import Settings


def start_fields(settings: Settings) -> dict[str, str | int]:
    """Return the fields, by their names."""
    tls = "mutual" if settings.tls_client_ca else "on" if settings.tls_cert else "off"
    return {
        "version": __version__,
        "auth": settings.auth.value,
        "dialect": settings.dialect.value,
        "tls": tls,
        "workers": settings.workers,
    }
