"""HTTP as it is spoken to the upstream and to IAM."""

from __future__ import annotations

from urllib.parse import urlsplit

import aiohttp

from gateway import __version__

# Tokens of the cloud come to 20,000 characters: IAM answers with one, and SWR may repeat one.
MAX_HEADER_BYTES = 64 * 1024
# Below the default of the attempt's own limit, so that a host that is not there can be told from one that is slow.
CONNECT_TIMEOUT = 3.0

_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    "User-Agent": f"swr-gateway/{__version__}",
}


def open_session(connector: aiohttp.BaseConnector | None = None) -> aiohttp.ClientSession:
    """Open a session over a pool of connections, by default one of its own; it belongs to the running event loop.

    No cookies, no proxies from the environment, no second sending, no decompression (gateway.upstream.bodies has its
    own), and no limit of time: requests bring their own.
    Redirects, which would carry a credential to another host, are for each request to refuse.
    """
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=_HEADERS,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
        trust_env=False,
        auto_decompress=False,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
    )
    # aiohttp sends a GET again by itself when a connection breaks, and a request that nobody counts escapes every
    # budget. There is no public switch for that; tests/test_upstream.py fails should this one go away.
    session._retry_connection = False  # noqa: SLF001
    return session


def host_and_port(origin: str) -> tuple[str, int]:
    """Return where an origin is, with the port that its scheme stands for."""
    parts = urlsplit(origin)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
