"""SDK-HMAC-SHA256, by which the cloud's API gateway knows who holds an access key.

The rules are those of the cloud's API signing guide; tests/data/aksk_vectors.json holds what its official signer makes
of 22 requests, and this module makes the same of them, byte for byte.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote, unquote

ALGORITHM = "SDK-HMAC-SHA256"
DATE_HEADER = "X-Sdk-Date"
DATE_FORMAT = "%Y%m%dT%H%M%SZ"
# Its value stands in for a body's hash where it is sent, as in UNSIGNED-PAYLOAD.
_BODY_HASH_HEADER = "x-sdk-content-sha256"
_NO_BODY = sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Signature:
    """A request's signature, and the two texts that it was made of.

    Attributes:
        canonical_request: The request, written the one way that both sides write it.
        string_to_sign: Algorithm, date and hash of that.
        signed_names: The signed headers' names, lower-case and in order.
        value: The signature, in hexadecimal.
    """

    canonical_request: str
    string_to_sign: str
    signed_names: str
    value: str

    def authorization(self, access_key: str) -> str:
        """Return the value of the Authorization header."""
        return f"{ALGORITHM} Access={access_key}, SignedHeaders={self.signed_names}, Signature={self.value}"


def write_date(seconds: float) -> str:
    """Write seconds since 1970 as the X-Sdk-Date header has them."""
    return datetime.fromtimestamp(seconds, UTC).strftime(DATE_FORMAT)


def sign(secret_key: str, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Signature:
    """Sign a request.

    Args:
        secret_key: The key that both sides know.
        method: Such as `GET`.
        target: Path and query, percent-encoded, as they are sent.
        headers: Those to be signed, X-Sdk-Date among them. Names with an underscore are left out: proxies drop them.
        body: As it is sent.

    Raises:
        KeyError: X-Sdk-Date is not among the headers.
    """
    signed = sorted((name.lower(), value.strip()) for name, value in headers.items() if "_" not in name)
    by_name = dict(signed)
    names = ";".join(by_name)
    path, _, query = target.partition("?")
    canonical = "\n".join(
        (
            method,
            _canonical_path(path),
            _canonical_query(query),
            *(f"{name}:{value}" for name, value in signed),
            "",
            names,
            _body_hash(body, by_name),
        )
    )
    to_sign = f"{ALGORITHM}\n{by_name[DATE_HEADER.lower()]}\n{sha256(canonical.encode()).hexdigest()}"
    value = hmac.digest(secret_key.encode(), to_sign.encode(), "sha256").hex()
    return Signature(canonical, to_sign, names, value)


def _body_hash(body: bytes, headers: Mapping[str, str]) -> str:
    if not body:
        return _NO_BODY
    return headers.get(_BODY_HASH_HEADER) or sha256(body).hexdigest()


@lru_cache(maxsize=16)  # there are two paths
def _canonical_path(path: str) -> str:
    """Return the path that is signed: each segment decoded and encoded anew, with a slash behind the last."""
    encoded = "/".join(_encode(segment) for segment in unquote(path).split("/"))
    return encoded if encoded.endswith("/") else f"{encoded}/"


@lru_cache(maxsize=1024)  # callers poll: the same few queries come again and again
def _canonical_query(query: str) -> str:
    """Return the query that is signed: pairs sorted by key, then by value; one without a value keeps its `=`."""
    split = (pair.partition("=") for pair in query.split("&") if pair)
    pairs = sorted((unquote(key), unquote(value)) for key, _, value in split)
    return "&".join(f"{_encode(key)}={_encode(value)}" for key, value in pairs)


def _encode(text: str) -> str:
    return quote(text, safe="-_.~")
