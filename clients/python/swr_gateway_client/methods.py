"""The methods of RepoService, as gRPC's channels take them: path, request to bytes, reply; and what reads the replies.

To gRPC a reply is bytes: of one that it cannot read it would log a traceback, and with an event loop hand on None.
"""

from __future__ import annotations

from swr_gateway_client.v1 import repos_pb2

_SERVICE = "/gateway.swr.v1.RepoService"

LIST_REPOS = (f"{_SERVICE}/ListRepos", repos_pb2.ListReposRequest.SerializeToString, bytes)
STREAM_REPOS = (f"{_SERVICE}/StreamRepos", repos_pb2.StreamReposRequest.SerializeToString, bytes)

read_page = repos_pb2.ListReposResponse.FromString
read_message = repos_pb2.StreamReposResponse.FromString
