"""Envoy as one turns it into a gateway: its transcoder from gRPC to REST, and glue in Lua for what that cannot say.

A transcoder wants an object, and SWR answers with an array and a header. Its template of a target cannot leave out a
clause that is not set, so it does not build the filter: it always sends the one that these calls have.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from google.api.annotations_pb2 import DESCRIPTOR as ANNOTATIONS
from google.protobuf import json_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from benchmarks.chaos.envoy import BINARY
from gateway.swr.v1 import repos_pb2

_TARGET = (
    "/v2/manage/repos?filter=center::{filter.center}|namespace::{filter.namespace}|offset::{offset}|limit::{limit}"
)
_GLUE = """
function envoy_on_response(handle)
  if handle:headers():get(":status") ~= "200" then return end
  local body = handle:body()
  local object = '{"repos":' .. body:getBytes(0, body:length())
  local range = handle:headers():get("content-range") or ""
  local offset, count, total = string.match(range, "^(%d+)-(%d+)/(%d+)$")
  if offset then
    object = object .. ',"content_range":{"offset":' .. offset .. ',"count":' .. count .. ',"total":' .. total .. '}'
  end
  body:setBytes(object .. '}')
end
"""
# Bytes: more than any page has.
_LARGEST = 32 * 2**20
_EXTENSIONS = "type.googleapis.com/envoy.extensions.filters"
_LOCAL = {"address": "127.0.0.1", "port_value": 0}


def command(upstream: str) -> tuple[str, ...]:
    """Return the command that runs it, in front of an upstream's URL."""
    configuration = {
        "admin": {"address": {"socket_address": _LOCAL}},
        "static_resources": {"listeners": [_listener()], "clusters": [_cluster(int(upstream.rpartition(":")[2]))]},
    }
    settings = ("--config-yaml", json.dumps(configuration), "--concurrency", "1", "--disable-hot-restart")
    return (str(BINARY), *settings, "--log-level", "info")


def _listener() -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "upstream", "timeout": "15s"}}
    manager = {
        "@type": f"{_EXTENSIONS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "callers",
        "codec_type": "HTTP2",
        "generate_request_id": False,
        "route_config": {"virtual_hosts": [{"name": "upstream", "domains": ["*"], "routes": [route]}]},
        "http_filters": [_transcoder(), _lua(), _filter("router.v3.Router")],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {
        "name": "callers",
        "address": {"socket_address": _LOCAL},
        "per_connection_buffer_limit_bytes": _LARGEST,
        "filter_chains": [{"filters": filters}],
    }


def _transcoder() -> dict[str, Any]:
    return _filter(
        "grpc_json_reverse_transcoder.v3.GrpcJsonReverseTranscoder",
        descriptor_binary=base64.b64encode(descriptors().SerializeToString()).decode(),
        max_response_body_size=_LARGEST,
    )


def _lua() -> dict[str, Any]:
    return _filter("lua.v3.Lua", default_source_code={"inline_string": _GLUE})


def _filter(kind: str, **settings: Any) -> dict[str, Any]:
    return {"name": kind.partition(".")[0], "typed_config": {"@type": f"{_EXTENSIONS}.http.{kind}", **settings}}


def _cluster(port: int) -> dict[str, Any]:
    endpoint = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}
    return {
        "name": "upstream",
        "type": "STATIC",
        "per_connection_buffer_limit_bytes": _LARGEST,
        "load_assignment": {"cluster_name": "upstream", "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
    }


def descriptors() -> FileDescriptorSet:
    """Return the protocol as the transcoder wants it: with a target, and enum values named as in that target."""
    files: dict[str, FileDescriptorProto] = {}
    _collect(ANNOTATIONS, files)
    _collect(repos_pb2.DESCRIPTOR, files)
    ours = files[repos_pb2.DESCRIPTOR.name]
    ours.dependency.append(ANNOTATIONS.name)
    (listing,) = (method for method in ours.service[0].method if method.name == "ListRepos")
    json_format.ParseDict({"[google.api.http]": {"get": _TARGET}}, listing.options)
    for value, word in zip(ours.enum_type[0].value, ("unset", "self", "thirdparty"), strict=True):
        value.name = word
    return FileDescriptorSet(file=files.values())


def _collect(file: FileDescriptor, into: dict[str, FileDescriptorProto]) -> None:
    """Add a file behind all that it imports."""
    for imported in file.dependencies:
        _collect(imported, into)
    into[file.name] = FileDescriptorProto()
    file.CopyToProto(into[file.name])
