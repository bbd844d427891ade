"""The client for callers: an async one, with deadlines, retries, resumed streams, and one error with all its details.

Example::

    async with Client("127.0.0.1:50051") as client:
        page = await client.list_repos(namespace="root", offset=0, limit=10)
        async for repo in client.iter_repos(name="nginx"):
            ...
"""

from __future__ import annotations

from gateway.client.call_error import CallError
from gateway.client.channel import SERVICE_CONFIG
from gateway.client.client import DEFAULT_LIMIT, Client
from gateway.client.faults import ConnectionFault
from gateway.client.resume import MAX_RESUMES
from gateway.core.errors import Violation

__all__ = ["DEFAULT_LIMIT", "MAX_RESUMES", "SERVICE_CONFIG", "CallError", "Client", "ConnectionFault", "Violation"]
