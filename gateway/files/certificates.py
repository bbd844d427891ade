"""Certificates, keys and authorities in PEM, looked at before they are put to use.

`cryptography` is imported where it is needed: a gateway without TLS starts without it, 60 ms sooner.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from gateway.files.reloading import read_file
from gateway.start_errors import BadFileError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

Read: TypeAlias = Callable[[Path], bytes]

MIN_RSA_BITS = 2048


class KeyUse(Enum):
    """What will use a key, and with that the kinds of keys that make sense, in words."""

    GRPC = "RSA of 2048 bits and more, or ECDSA on P-256 or P-384"  # what gRPC's own clients accept of a server
    OPENSSL = "RSA of 2048 bits and more, ECDSA on P-256, P-384 or P-521, or Ed25519"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate that can be used now, with its chain, and its key.

    Attributes:
        chain: The certificates in PEM, the own one first.
        key: The private key in PEM.
        ends: When the own certificate ends, in seconds since 1970.
    """

    chain: bytes
    key: bytes = field(repr=False)
    ends: float


def read_key_pair(certificate_path: Path, key_path: Path, use: KeyUse, read: Read = read_file) -> KeyPair:
    """Read a certificate and its key.

    Args:
        certificate_path: The certificate, and behind it its chain.
        key_path: Its key.
        use: What will use them.
        read: How a file is read; raises BadFileError.

    Raises:
        BadFileError: One cannot be read or is none, the key is another certificate's or of a kind that is of no use, or
            the certificate is not valid at this time.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    chain = _parse(certificate_path, read(certificate_path))
    key = _parse_key(key_path, read(key_path), use)
    if key.public_key() != _certified_key(certificate_path, chain[0], use):
        raise BadFileError(key_path, f"is not the key of the certificate in {certificate_path}")
    begin, end = _times(certificate_path, chain[0])
    _check_time(certificate_path, begin, end)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return KeyPair(_write(chain), pem, end.timestamp())


def read_authorities(path: Path, read: Read = read_file) -> bytes:
    """Read the certificates of authorities; returns them in PEM, with nothing else that the file may hold.

    Args:
        path: The file.
        read: As of read_key_pair.

    Raises:
        BadFileError: The file cannot be read, or none in it is valid at this time.
    """
    authorities = _parse(path, read(path))
    now = datetime.now(UTC)
    # Bundles hold authorities that are over, and those to come, beside those in use.
    times = [_times(path, one) for one in authorities]
    if not any(begin <= now <= end for begin, end in times):
        _check_time(path, *max(times, key=lambda time: time[1]))
    return _write(authorities)


def _parse(path: Path, pem: bytes) -> list[Certificate]:
    from cryptography.x509 import InvalidVersion, load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(pem)
    except (InvalidVersion, ValueError) as error:
        raise BadFileError(path, "holds no certificate in PEM") from error


def _write(certificates: list[Certificate]) -> bytes:
    """Write certificates with nothing between them: TLS libraries differ in what they make of comments there."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _parse_key(path: Path, pem: bytes, use: KeyUse) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(pem, password=None)
    except (TypeError, ValueError) as error:  # the first for a key that is encrypted
        raise BadFileError(path, "holds no unencrypted private key in PEM") from error
    except UnsupportedAlgorithm as error:
        raise _of_no_use(path, use) from error


def _certified_key(path: Path, certificate: Certificate, use: KeyUse) -> object:
    """Return the key that a certificate is for."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.x509.oid import PublicKeyAlgorithmOID

    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError) as error:
        raise _of_no_use(path, use) from error
    curves: tuple[type[ec.EllipticCurve], ...] = (ec.SECP256R1, ec.SECP384R1)
    match key:
        case rsa.RSAPublicKey() if certificate.public_key_algorithm_oid != PublicKeyAlgorithmOID.RSASSA_PSS:
            good = key.key_size >= MIN_RSA_BITS
        case ec.EllipticCurvePublicKey():
            good = isinstance(key.curve, (*curves, ec.SECP521R1) if use is KeyUse.OPENSSL else curves)
        case _:
            good = isinstance(key, ed25519.Ed25519PublicKey) and use is KeyUse.OPENSSL
    if not good:
        raise _of_no_use(path, use)
    return key


def _of_no_use(path: Path, use: KeyUse) -> BadFileError:
    return BadFileError(path, f"holds a key of a kind that is of no use here: {use.value} would be")


def _times(path: Path, certificate: Certificate) -> tuple[datetime, datetime]:
    """Return from when to when a certificate is valid."""
    try:
        return certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except (ValueError, OverflowError) as error:  # the year 0 is none in Python
        raise BadFileError(path, "holds a certificate whose times cannot be read") from error


def _check_time(path: Path, begin: datetime, end: datetime) -> None:
    now = datetime.now(UTC)
    if now > end:
        raise BadFileError(path, f"the certificate expired at {end:%Y-%m-%dT%H:%M:%SZ}")
    if now < begin:
        raise BadFileError(path, f"the certificate is not valid before {begin:%Y-%m-%dT%H:%M:%SZ}")
