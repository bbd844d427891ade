"""Authorities and certificates that live for one run of the tests, folders that hold them, and an upstream with TLS."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from gateway.metrics import Metrics
from scripted_upstream import page
from stream_server import stream_server

Result = TypeVar("Result")
Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

CA = trustme.CA()
OTHER_CA = trustme.CA()

NOW = datetime.now(UTC)
YESTERDAY, TOMORROW = NOW - timedelta(days=1), NOW + timedelta(days=1)

_KINDS: dict[str, Callable[[str], x509.GeneralName]] = {
    "DNS": x509.DNSName,
    "URI": x509.UniformResourceIdentifier,
    "EMAIL": x509.RFC822Name,
    "IP": lambda text: x509.IPAddress(ipaddress.ip_address(text)),
}


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, both in PEM."""

    chain: bytes
    key: bytes

    @property
    def der(self) -> bytes:
        return ssl.PEM_cert_to_DER_cert(self.chain.decode())

    def configure(self, context: ssl.SSLContext) -> None:
        trustme.LeafCert(self.key, self.chain, []).configure_cert(context)


def pem_of(*authorities: trustme.CA) -> bytes:
    return b"".join(authority.cert_pem.bytes() for authority in authorities)


def issue(*names: str, authority: trustme.CA = CA, **more: Any) -> Pair:
    """Issue a certificate for host names and addresses."""
    leaf = authority.issue_cert(*names, **more)
    # In PKCS #8, which every TLS library reads: Java's reads no other.
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return Pair(b"".join(pem.bytes() for pem in leaf.cert_chain_pems), pem_of_key(key))


def issue_of_year_0(*names: str) -> Pair:
    """Issue a certificate whose end is in the year 0, which Python's calendar does not know."""
    pair = issue(*names, not_after=datetime(2060, 1, 1, tzinfo=UTC))
    assert pair.der.count(b"20600101000000Z") == 1
    der = pair.der.replace(b"20600101000000Z", b"00000101000000Z")
    return Pair(ssl.DER_cert_to_PEM_cert(der).encode(), pair.key)


def issue_named(*names: str, common_name: str = "", key: Key | None = None) -> Pair:
    """Issue a certificate with names of any kind, written as OpenSSL does: `DNS:a.example`, `URI:spiffe://a/b`."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = _unsigned(CA, key, common_name)
    if names:
        general = [_KINDS[kind](text) for kind, _, text in (name.partition(":") for name in names)]
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    signer = serialization.load_pem_private_key(CA.private_key_pem.bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    return Pair(builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), pem_of_key(key))


def issue_authority(begins: datetime, ends: datetime) -> bytes:
    """Issue the certificate of an authority that vouches only for a time."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority until {ends:%Y-%m-%d}")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), begins, ends)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def certificate_end(metrics: Metrics, what: str) -> float | None:
    """Return when the certificate in use ends, as operators are told."""
    return metrics.registry.get_sample_value("swr_gateway_certificate_expiry_timestamp_seconds", {"what": what})


def pem_of_key(key: Key, password: bytes = b"") -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _unsigned(authority: trustme.CA, key: Key, common_name: str) -> x509.CertificateBuilder:
    issuer = x509.load_pem_x509_certificate(pem_of(authority))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    known_as = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.CertificateBuilder(
        issuer.subject, subject, key.public_key(), x509.random_serial_number(), YESTERDAY, TOMORROW
    ).add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known_as), critical=False)


class Folder:
    """A plain folder: files are replaced one by one, so that for a moment they do not fit together."""

    def __init__(self, root: Path, **contents: bytes) -> None:
        self._root = root
        root.mkdir()
        self.put(**contents)

    def put(self, **contents: bytes) -> None:
        for name, content in contents.items():
            new = self._root / f"{name}.new"
            new.write_bytes(content)
            new.replace(self.path(name))

    def path(self, name: str) -> Path:
        return self._root / name

    def put_pair(self, pair: Pair) -> None:
        self.put(certificate=pair.chain, key=pair.key)


class Mount(Folder):
    """A folder as Kubernetes mounts a secret: names lead through `..data`, so that all files change at once."""

    def __init__(self, root: Path, **contents: bytes) -> None:
        self._contents: dict[str, bytes] = {}
        self._versions = 0
        super().__init__(root, **contents)

    def put(self, **contents: bytes) -> None:
        self._contents |= contents
        self._versions += 1
        version = self._root / f"..{self._versions}"
        version.mkdir()
        for name, content in self._contents.items():
            (version / name).write_bytes(content)
            if not self.path(name).is_symlink():
                self.path(name).symlink_to(f"..data/{name}")
        new = self._root / "..new"
        new.symlink_to(version.name)
        new.replace(self._root / "..data")


def set_version(context: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    """Let a side speak one version only, old ones as well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = version
        context.minimum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")


def client_context(trusted: trustme.CA = CA) -> ssl.SSLContext:
    """Return what a client of gRPC secures a connection with."""
    context = ssl.create_default_context(cadata=pem_of(trusted).decode())
    context.set_alpn_protocols(["h2"])
    return context


@dataclass
class TlsUpstream:
    """An upstream behind TLS, which answers every request alike.

    It drives OpenSSL by itself, because asyncio hangs up on a failed handshake without the alert that servers send.

    Attributes:
        context: What its connections are secured with.
        answer: What it answers with: an empty page.
        url: Where it listens.
        attempts: Connections that were tried.
        callers: The host name in the certificate of each connection; empty where none was shown.
        requests: How many there were.
    """

    context: ssl.SSLContext
    answer: bytes = page("[]")
    url: str = ""
    attempts: int = 0
    callers: list[str] = field(default_factory=list)
    requests: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.attempts += 1
        connection = _Connection(self.context, reader, writer)
        try:
            self.callers.append(await connection.accept())
            while await connection.read_request():
                self.requests += 1
                await connection.write(self.answer)
        except (ssl.SSLError, ConnectionError):
            # Who hangs up with something unread takes back what is under way.
            with suppress(ConnectionError):
                writer.write_eof()
                await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def tls_upstream(
    pair: Pair | None = None, *, callers: trustme.CA | None = None, version: ssl.TLSVersion | None = None
) -> AsyncIterator[TlsUpstream]:
    """Listen on a free port for the time of a `with` block.

    Args:
        pair: The certificate; None for one that is right.
        callers: Who vouches for clients; None for clients without certificates.
        version: The only version of TLS that is spoken; None for Python's own choice.
    """
    upstream = TlsUpstream(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    (pair or issue("localhost")).configure(upstream.context)
    if callers:
        upstream.context.verify_mode = ssl.CERT_REQUIRED
        callers.configure_trust(upstream.context)
    if version:
        set_version(upstream.context, version)
    async with stream_server(upstream.serve) as port:
        upstream.url = f"https://localhost:{port}"
        yield upstream


class _Connection:
    """The server's end of a connection with TLS."""

    def __init__(self, context: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def accept(self) -> str:
        """Shake hands; return the host name in the client's certificate."""
        await self._drive(self._tls.do_handshake)
        names: Any = (self._tls.getpeercert() or {}).get("subjectAltName", ())
        return str(dict(names).get("DNS", ""))

    async def read_request(self) -> bytes:
        """Read a request, which has no body; empty when the client has hung up."""
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            received = await self._drive(self._tls.read)
            if not received:
                return b""
            request += received
        return request

    async def write(self, content: bytes) -> None:
        await self._drive(partial(self._tls.write, content))

    async def _drive(self, step: Callable[[], Result]) -> Result:
        """Do one thing, and send and receive what it takes."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                pass
            finally:
                self._writer.write(self._outgoing.read())
            received = await self._reader.read(2**16)
            if received:
                self._incoming.write(received)
            else:
                self._incoming.write_eof()
