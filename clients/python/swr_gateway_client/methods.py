"""The methods of RepoService, as gRPC's channels take them: path, request to bytes, bytes to reply."""

from __future__ import annotations

from swr_gateway_client.v1 import repos_pb2

_SERVICE = "/gateway.swr.v1.RepoService"

LIST_REPOS = (
    f"{_SERVICE}/ListRepos",
    repos_pb2.ListReposRequest.SerializeToString,
    repos_pb2.ListReposResponse.FromString,
)
STREAM_REPOS = (
    f"{_SERVICE}/StreamRepos",
    repos_pb2.StreamReposRequest.SerializeToString,
    repos_pb2.StreamReposResponse.FromString,
)
