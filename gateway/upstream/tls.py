"""TLS towards the upstream: whom the gateway trusts, and how it proves who it is."""

from __future__ import annotations

import ssl
from pathlib import Path

from gateway.files.certificates import KeyUse, read_authorities, read_key_pair
from gateway.files.reloading import Look, Reloading
from gateway.metrics import Metrics
from gateway.start_errors import BadFileError

NAME = "upstream_tls"


class UpstreamTls:
    """What connections to the upstream are secured with: host names are always checked, TLS is 1.2 at least.

    Files are read again when they change, for connections that are opened from then on.

    Args:
        authorities: CA certificates in PEM that the upstream is verified against, instead of the system's; None for the
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
        self._context = Reloading(NAME, paths, self._load, metrics) if paths else None

    def current(self) -> ssl.SSLContext | bool:
        """Return what aiohttp takes as `ssl`: True is its own default, which trusts the system's authorities."""
        return self._context.current() if self._context else True

    def look_at_files(self) -> tuple[Look, ...]:
        """Read files again that changed; may be called from another thread."""
        return (self._context.look(),) if self._context else ()

    def _load(self) -> ssl.SSLContext:
        context = authorities_context(self._authorities) if self._authorities else ssl.create_default_context()
        if self._key_pair:
            self._load_key_pair(context, *self._key_pair)
        return context

    def _load_key_pair(self, context: ssl.SSLContext, certificate: Path, key: Path) -> None:
        pair = read_key_pair(certificate, key, KeyUse.OPENSSL)
        try:
            context.load_cert_chain(certificate, key)
        except OSError as error:  # they were changed in between, or OpenSSL does not think them strong enough
            raise BadFileError(certificate, f"cannot be used with the key in {key}") from error
        self._metrics.certificate_end.labels(NAME).set(pair.ends)


def authorities_context(path: Path) -> ssl.SSLContext:
    """Return a context that trusts those who are named in a file, and nobody else.

    Raises:
        BadFileError: The file cannot be used.
    """
    try:
        return ssl.create_default_context(cadata=read_authorities(path).decode())
    except ssl.SSLError as error:
        raise BadFileError(path, "holds a certificate that OpenSSL cannot read") from error
