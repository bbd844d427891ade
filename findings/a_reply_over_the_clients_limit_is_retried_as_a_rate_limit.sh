#!/usr/bin/env bash
# google-api-core 2.44, go-grpc-middleware 2.3: a reply that is larger than the client takes is asked for again and again.
#
# A reply of more than 4 MiB is refused by the client itself, and no later one is smaller: there is nothing to retry. But its code
# is RESOURCE_EXHAUSTED, that of a server which limits the rate, and both libraries retry it unless told otherwise; Google's does
# for two minutes, and then says "Timeout of 120.0s exceeded". Each time the server makes the whole page, and a gateway asks
# its upstream for it. gRPC's own retries make one call of it, even where they are told to retry that code: an answer had begun. So
# who has such a layer raises the client's limit, or names codes without RESOURCE_EXHAUSTED.
#
# Seen with google-api-core 2.44.0 and grpcio 1.85.3 on CPython 3.11, go-grpc-middleware 2.3.4 and grpc-go 1.85.0, and Linux, waits
# of 10 ms, a reply of 6,000,000 bytes: some 200 calls in the 2 s that google-api-core was given, 4 of 4 with go-grpc-middleware, 1
# with a retry policy of gRPC for RESOURCE_EXHAUSTED, which makes 4 where the server itself says that. Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check grpcio==1.85.3 grpcio-status==1.85.3 google-api-core==2.44.0
mkdir go
cat >go/go.mod <<'GO'
module look

go 1.25.0

require (
	github.com/grpc-ecosystem/go-grpc-middleware/v2 v2.3.4
	google.golang.org/grpc v1.85.0
)
GO
cat >go/main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/retry"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
)

func main() {
	again := retry.UnaryClientInterceptor(retry.WithMax(4), retry.WithBackoff(retry.BackoffLinear(10*time.Millisecond)))
	channel, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(again))
	if err != nil {
		panic(err)
	}
	fmt.Println(channel.Invoke(context.Background(), "/any.Service/Large", &emptypb.Empty{}, &emptypb.Empty{}))
}
GO
(cd go && GOFLAGS=-mod=mod go build -o look .)
cat >look.py <<'PYTHON'
import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.api_core import exceptions, grpc_helpers, retry

POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.01s",
    "maxBackoff": "0.01s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["RESOURCE_EXHAUSTED"],
}
CONFIG = json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": POLICY}]})
calls = 0


def large(_: bytes, __: grpc.ServicerContext) -> bytes:
    global calls
    calls += 1
    return bytes(6_000_000)


def limited(_: bytes, context: grpc.ServicerContext) -> bytes:
    global calls
    calls += 1
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls")


def google(method: str) -> str:
    with grpc.insecure_channel(target) as channel:
        call = grpc_helpers.wrap_errors(channel.unary_unary(method))
        try:
            retry.Retry(initial=0.01, maximum=0.01, timeout=2)(call)(b"")
        except exceptions.RetryError as error:
            return f"{error.message}, last exception: {error.cause.code.name} {error.cause.message}"
    return "OK"


def policy(method: str) -> str:
    with grpc.insecure_channel(target, [("grpc.service_config", CONFIG)]) as channel:
        try:
            channel.unary_unary(method)(b"")
        except grpc.RpcError as error:
            return f"{error.code().name} {error.details()}"
    return "OK"


def middleware(_: str) -> str:
    return subprocess.run(["go/look", target], check=True, capture_output=True, text=True).stdout.strip()


def counted(name: str, call: Callable[[str], str], method: str) -> int:
    global calls
    calls = 0
    outcome = call(method)
    print(f"{name}: {calls} calls: {outcome}")
    return calls


handlers = {name.__name__.title(): grpc.unary_unary_rpc_method_handler(name) for name in (large, limited)}
server = grpc.server(ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("any.Service", handlers),))
target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
server.start()
assert counted("google-api-core, for 2 s", google, "/any.Service/Large") > 10
assert counted("go-grpc-middleware, up to 4", middleware, "/any.Service/Large") == 4
assert counted("a policy of gRPC, up to 4", policy, "/any.Service/Large") == 1
assert counted("the same, where the server limits the rate", policy, "/any.Service/Limited") == 4
server.stop(None)
PYTHON
venv/bin/python look.py
