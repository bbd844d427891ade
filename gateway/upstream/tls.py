"""TLS towards the upstream: whom the gateway trusts, and how it proves who it is."""

from __future__ import annotations

import ssl
from pathlib import Path

from gateway.files.certificates import read_authorities, read_key_pair
from gateway.files.reloading import BadFileError, Reloading
from gateway.metrics import Metrics


class UpstreamTls:
    """What connections to the upstream are secured with: host names are always checked, TLS is 1.2 at least.

    Files are read again when they change, for connections that are opened from then on.

    Args:
        authorities: Certificates in PEM of those who vouch for the upstream, instead of the system's; None for the
            system's.
        key_pair: The gateway's own certificate and its key; None for none.
        metrics: Where reloads are counted.

    Raises:
        BadFileError: A file cannot be used.
    """

    def __init__(self, authorities: Path | None, key_pair: tuple[Path, Path] | None, metrics: Metrics) -> None:
        self._authorities = authorities
        self._key_pair = key_pair
        self._metrics = metrics
        paths = (*filter(None, (authorities,)), *(key_pair or ()))
        self._context = Reloading("upstream TLS", paths, self._load, metrics) if paths else None

    def current(self) -> ssl.SSLContext | bool:
        """Return what aiohttp takes as `ssl`: True is its own default, which trusts the system's authorities."""
        return self._context.current() if self._context else True

    def _load(self) -> ssl.SSLContext:
        if self._authorities:
            context = ssl.create_default_context(cadata=read_authorities(self._authorities).decode())
        else:
            context = ssl.create_default_context()
        if self._key_pair:
            self._load_key_pair(context, *self._key_pair)
        return context

    def _load_key_pair(self, context: ssl.SSLContext, certificate: Path, key: Path) -> None:
        pair = read_key_pair(certificate, key)
        try:
            context.load_cert_chain(certificate, key)
        except OSError as error:  # they were changed in between, or OpenSSL does not think them strong enough
            raise BadFileError(certificate, f"cannot be used with the key in {key}") from error
        self._metrics.certificate_end.labels("upstream").set(pair.ends)
