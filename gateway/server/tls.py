"""TLS towards callers: how the gateway proves who it is, and whom it lets in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import grpc

from gateway.core.errors import CALLER_NOT_ALLOWED, GatewayError
from gateway.files.certificates import KeyUse, read_authorities, read_key_pair
from gateway.files.reloading import Look, Reloading
from gateway.metrics import Metrics
from gateway.settings.model import Settings

NAME = "server_tls"

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class ServerTls:
    """What ports are secured with: TLS 1.2 at least, and mutual TLS where there are authorities for callers.

    The files are looked at with each handshake, and read again when they changed: new connections get what is new,
    those that stand are not touched.

    Args:
        certificate: The gateway's certificate.
        key: Its key.
        client_authorities: CA certificates that callers are verified against; None for callers without certificates.
        metrics: Where reloads are counted.

    Raises:
        BadFileError: A file cannot be used.
    """

    def __init__(self, certificate: Path, key: Path, client_authorities: Path | None, metrics: Metrics) -> None:
        self._certificate = certificate
        self._key = key
        self._client_authorities = client_authorities
        self._metrics = metrics
        paths = (certificate, key, *filter(None, (client_authorities,)))
        self._configuration = Reloading(NAME, paths, self._load, metrics)

    def credentials(self) -> grpc.ServerCredentials:
        """Return what one port is secured with. Each port needs its own, for each has to be told of a change."""
        given = self._configuration.current()

        def changed() -> Any:
            """Return a new configuration or None; gRPC calls it from threads of its own."""
            nonlocal given
            before, given = given, self._configuration.current()
            return None if given is before else given

        must_show = self._client_authorities is not None
        return grpc.dynamic_ssl_server_credentials(given, changed, require_client_authentication=must_show)

    def look_at_files(self) -> tuple[Look, ...]:
        """Read files again that changed; may be called from another thread."""
        return (self._configuration.look(),)

    def _load(self) -> grpc.ServerCertificateConfiguration:
        pair = read_key_pair(self._certificate, self._key, KeyUse.GRPC)
        callers = read_authorities(self._client_authorities) if self._client_authorities else None
        configuration = grpc.ssl_server_certificate_configuration([(pair.key, pair.chain)], callers)
        self._metrics.certificate_end.labels(NAME).set(pair.ends)
        return configuration


class AllowedCallers:
    """Who may call, by the names in the certificate that the caller showed.

    Args:
        names: DNS names and SPIFFE ids, the latter also with a trailing `*`; empty for all that have a certificate.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        spiffe = [name for name in names if name.startswith("spiffe://")]
        self._prefixes = tuple(name[:-1] for name in spiffe if name.endswith("*"))
        self._exact = frozenset(name for name in spiffe if not name.endswith("*"))
        self._dns = frozenset(name.lower() for name in names if not name.startswith("spiffe://"))
        self._all = not names

    def check(self, context: Context) -> None:
        """Let the caller in, or raise.

        Raises:
            GatewayError: CALLER_NOT_ALLOWED.
        """
        if self._all:
            return
        shown = context.auth_context()
        dns = {name.decode(errors="replace").lower() for name in shown.get("peer_dns", ())}
        ids = [name.decode(errors="replace") for name in shown.get("peer_spiffe_id", ())]
        if not (dns & self._dns or self._exact.intersection(ids) or any(id_.startswith(self._prefixes) for id_ in ids)):
            raise GatewayError(CALLER_NOT_ALLOWED)


def server_tls(settings: Settings, metrics: Metrics) -> ServerTls | None:
    """Return what ports are secured with; None for plain text."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return ServerTls(settings.tls_cert, settings.tls_key, settings.tls_client_ca, metrics)
