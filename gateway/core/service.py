"""RepoService: its name and its methods, as gRPC's paths, health checks, metrics and the log write them."""

from __future__ import annotations

from gateway.swr.v1 import repos_pb2

_SERVICE = repos_pb2.DESCRIPTOR.services_by_name["RepoService"]

SERVICE_NAME = _SERVICE.full_name
METHODS = tuple(f"{SERVICE_NAME}/{method.name}" for method in _SERVICE.methods)
