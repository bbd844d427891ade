#!/usr/bin/env bash
# grpcio 1.85, @grpc/grpc-js 1.14: NO_PROXY and HTTPS_PROXY in capitals are not read, and by grpc-go they are.
#
# Where calls leave by a proxy the environment names it, and the servers that are reached without it, and one would think that the
# libraries of one family read it alike. Of thirteen settings they agree on four. grpc-go reads HTTPS_PROXY alone, in capitals or
# small, and does not ask a proxy for this machine. grpcio and grpc-js read small letters alone, of https_proxy, http_proxy and a
# grpc_proxy of their own, and ask it for 127.0.0.1 too. So with https_proxy and NO_PROXY all of their calls go to the proxy. In
# no_proxy they do not know `*`, `*.name` and `name:port`, and grpc-js no blank behind a comma. In one pod a call goes straight to
# its server in one language, and in another asks a proxy that may not know the name. All read names without blanks and wildcards,
# in no_proxy; options of the channel, `grpc.enable_http_proxy` 0 and grpc.WithNoProxy, need no environment.
#
# Seen with grpcio 1.85.3 on CPython 3.11, @grpc/grpc-js 1.14.7 on Node 20, grpc-go 1.85.0 on Go 1.26, and Linux: the table below.
# Fails should one of them read a setting otherwise.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check grpcio==1.85.3
npm install --silent --no-fund --no-audit --ignore-scripts @grpc/grpc-js@1.14.7
mkdir go
cat >go/go.mod <<'GO'
module call

go 1.25.0

require google.golang.org/grpc v1.85.0
GO
cat >go/main.go <<'GO'
package main

import (
	"context"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
)

func main() {
	channel, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	soon, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	channel.Invoke(soon, "/any.Service/Any", &emptypb.Empty{}, &emptypb.Empty{})
}
GO
(cd go && GOFLAGS=-mod=mod go build -o call .)
cat >call.mjs <<'JAVASCRIPT'
import grpc from "@grpc/grpc-js";

const same = (bytes) => bytes;
const client = new grpc.Client(process.argv[2], grpc.credentials.createInsecure());
const options = { deadline: Date.now() + 2000 };
client.makeUnaryRequest("/any.Service/Any", same, same, Buffer.alloc(0), new grpc.Metadata(), options, () => client.close());
JAVASCRIPT
cat >call.py <<'PYTHON'
import sys

import grpc

with grpc.insecure_channel(sys.argv[1]) as channel:
    try:
        channel.unary_unary("/any.Service/Any")(b"", timeout=2)
    except grpc.RpcError:
        pass
PYTHON
cat >look.py <<'PYTHON'
import os
import socketserver
import subprocess
import sys
import threading

CLIENTS = {"grpcio": [sys.executable, "call.py"], "grpc-js": ["node", "call.mjs"], "grpc-go": ["go/call"]}
asked: list[str] = []  # who was asked of the proxy


class Proxy(socketserver.StreamRequestHandler):
    """Notes whom a client wants, and connects it to nobody."""

    def handle(self) -> None:
        asked.append(self.rfile.readline().decode().split(" ")[1])
        self.wfile.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")


PROXY = "http://127.0.0.1:{port}"
BOTH = {"https_proxy": PROXY, "HTTPS_PROXY": PROXY}
# Where a call goes, the variables, and which of the clients ask the proxy.
CASES = (
    ("any.example:50051", BOTH, "grpcio grpc-js grpc-go"),
    ("any.example:50051", {"HTTPS_PROXY": PROXY}, "grpc-go"),
    ("any.example:50051", {"http_proxy": PROXY}, "grpcio grpc-js"),
    ("any.example:50051", {"grpc_proxy": PROXY}, "grpcio grpc-js"),
    ("127.0.0.1:1", BOTH, "grpcio grpc-js"),
    ("any.example:50051", BOTH | {"no_proxy": "any.example"}, ""),
    ("any.example:50051", BOTH | {"NO_PROXY": "any.example"}, "grpcio grpc-js"),
    ("any.example:50051", BOTH | {"no_proxy": "any.example:50051"}, "grpcio grpc-js"),
    ("any.example:50051", BOTH | {"no_proxy": "*"}, "grpcio grpc-js"),
    ("any.example:50051", BOTH | {"no_proxy": "other.example, any.example"}, "grpc-js"),
    ("a.any.example:50051", BOTH | {"no_proxy": "any.example"}, ""),
    ("a.any.example:50051", BOTH | {"no_proxy": ".any.example"}, ""),
    ("a.any.example:50051", BOTH | {"no_proxy": "*.any.example"}, "grpcio grpc-js"),
)


def asks(client: list[str], target: str, variables: dict[str, str]) -> bool:
    """Return whether a call of this client asks the proxy, with these variables and no others of the kind."""
    asked.clear()
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    given = {name: value.format(port=port) for name, value in variables.items()}
    subprocess.run([*client, target], env=kept | given, check=True, stderr=subprocess.DEVNULL)
    return bool(asked)


changed = False
with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Proxy) as proxy:
    port = proxy.server_address[1]
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    for target, variables, expected in CASES:
        seen = [name for name, client in CLIENTS.items() if asks(client, target, variables)]
        changed |= seen != expected.split()
        given = (name if value == PROXY else f"{name}={value}" for name, value in variables.items())
        print(f"{target}, {', '.join(given)}\n    the proxy is asked by: {', '.join(seen) or 'none'}")
    proxy.shutdown()
assert not changed, "a library reads a setting otherwise than it did"
PYTHON
venv/bin/python look.py
