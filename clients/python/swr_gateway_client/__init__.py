"""The client for callers: an async one, with deadlines, retries, resumed streams, and one error with all its details.

Example::

    async with Client("127.0.0.1:50051") as client:
        page = await client.list_repos(namespace="root", offset=0, limit=10)
        async for repo in client.iter_repos(name="nginx"):
            ...
"""

from __future__ import annotations

from swr_gateway_client.call_error import CallError, Violation
from swr_gateway_client.channel import SERVICE_CONFIG
from swr_gateway_client.client import DEFAULT_LIMIT, Client
from swr_gateway_client.faults import ConnectionFault
from swr_gateway_client.resume import MAX_RESUMES

__all__ = ["DEFAULT_LIMIT", "MAX_RESUMES", "SERVICE_CONFIG", "CallError", "Client", "ConnectionFault", "Violation"]

__version__ = "0.1.0"
