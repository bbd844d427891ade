"""Calls swr-gateway: with deadlines, retries, resumed streams, and one error that has all the details.

With an event loop::

    async with Client("127.0.0.1:50051") as client:
        page = await client.list_repos(namespace="root", offset=0, limit=10)
        async for repo in client.iter_repos(name="nginx"):
            ...

Without one::

    with SyncClient("127.0.0.1:50051") as client:
        page = client.list_repos(namespace="root", offset=0, limit=10)
        for repo in client.iter_repos(name="nginx"):
            ...
"""

from __future__ import annotations

from swr_gateway_client.call_error import CallError, Violation
from swr_gateway_client.channel import SERVICE_CONFIG
from swr_gateway_client.client import Client
from swr_gateway_client.faults import ConnectionFault
from swr_gateway_client.progress import MAX_RESUMES
from swr_gateway_client.requests import DEFAULT_LIMIT
from swr_gateway_client.sync_client import SyncClient
from swr_gateway_client.v1.repos_pb2 import (
    CENTER_SELF,
    CENTER_THIRD_PARTY,
    Center,
    ContentRange,
    ListReposResponse,
    Repo,
    StreamReposResponse,
)

__all__ = [
    "CENTER_SELF",
    "CENTER_THIRD_PARTY",
    "DEFAULT_LIMIT",
    "MAX_RESUMES",
    "SERVICE_CONFIG",
    "CallError",
    "Center",
    "Client",
    "ConnectionFault",
    "ContentRange",
    "ListReposResponse",
    "Repo",
    "StreamReposResponse",
    "SyncClient",
    "Violation",
]

__version__ = "0.1.0"
