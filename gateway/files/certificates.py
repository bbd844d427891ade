"""Certificates, keys and authorities in PEM, looked at before they are put to use.

`cryptography` is imported where it is needed: a gateway without TLS starts without it, 60 ms sooner.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.files.reloading import BadFileError, read_file

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_UNSUPPORTED = "holds a key of a kind that is not supported: RSA, ECDSA on P-256, P-384 or P-521, and Ed25519 are"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate that can be used now, with those that vouch for it, and its key.

    Attributes:
        chain: The certificates in PEM, the own one first.
        key: The private key in PEM.
        ends: When the own certificate ends, in seconds since 1970.
    """

    chain: bytes
    key: bytes = field(repr=False)
    ends: float


def read_key_pair(certificate_path: Path, key_path: Path) -> KeyPair:
    """Read a certificate and its key.

    Raises:
        BadFileError: One cannot be read or is none, the key is another certificate's or of a kind that TLS has no use
            for, or the certificate is not valid at this time.
    """
    chain = _parse(certificate_path, read_file(certificate_path))
    key = read_file(key_path)
    if _public_key_of(key_path, key) != _certified_key(certificate_path, chain[0]):
        raise BadFileError(key_path, f"is not the key of the certificate in {certificate_path}")
    _check_time(certificate_path, chain[0])
    return KeyPair(_write(chain), key, chain[0].not_valid_after_utc.timestamp())


def read_authorities(path: Path) -> bytes:
    """Read the certificates of authorities; returns them in PEM, with nothing else that the file may hold.

    Raises:
        BadFileError: The file cannot be read, or none in it is valid at this time.
    """
    authorities = _parse(path, read_file(path))
    now = datetime.now(UTC)
    # Bundles hold authorities that are over, and those to come, beside those in use.
    if not any(one.not_valid_before_utc <= now <= one.not_valid_after_utc for one in authorities):
        _check_time(path, max(authorities, key=lambda certificate: certificate.not_valid_after_utc))
    return _write(authorities)


def _parse(path: Path, pem: bytes) -> list[Certificate]:
    from cryptography.x509 import InvalidVersion, load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(pem)
    except (InvalidVersion, ValueError) as error:
        raise BadFileError(path, "holds no certificate in PEM") from error


def _write(certificates: list[Certificate]) -> bytes:
    """TLS libraries differ in what they make of comments and other bytes between certificates."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _public_key_of(path: Path, key: bytes) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(key, password=None).public_key()
    except (TypeError, ValueError) as error:  # the first for a key that is encrypted
        raise BadFileError(path, "holds no unencrypted private key in PEM") from error
    except UnsupportedAlgorithm as error:
        raise BadFileError(path, _UNSUPPORTED) from error


def _certified_key(path: Path, certificate: Certificate) -> object:
    """Return the key that a certificate is for, if it is one that both gRPC and OpenSSL can use."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError) as error:
        raise BadFileError(path, _UNSUPPORTED) from error
    curves = ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1
    on_curve = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, curves)
    if not (on_curve or isinstance(key, rsa.RSAPublicKey | ed25519.Ed25519PublicKey)):
        raise BadFileError(path, _UNSUPPORTED)
    return key


def _check_time(path: Path, certificate: Certificate) -> None:
    begin, end, now = certificate.not_valid_before_utc, certificate.not_valid_after_utc, datetime.now(UTC)
    if now > end:
        raise BadFileError(path, f"the certificate expired at {end:%Y-%m-%dT%H:%M:%SZ}")
    if now < begin:
        raise BadFileError(path, f"the certificate is not valid before {begin:%Y-%m-%dT%H:%M:%SZ}")
