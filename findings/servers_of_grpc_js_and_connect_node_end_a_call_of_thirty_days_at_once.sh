#!/usr/bin/env bash
# @grpc/grpc-js 1.14, @connectrpc/connect-node 2.2: to their servers a deadline in thirty days has passed when the call comes.
#
# Who watches something, or does not want a deadline and has to give one, gives a long one, and one would think that the longer it
# is the less it matters. Both servers count milliseconds in 32 bits. grpc-js cuts off what does not fit: from 25 to 49 days the
# rest is negative, and from 50 to 74 days it is short of what was asked for, by 49.7 days, and so on. connect-node hands the number
# to a timer of Node's, which takes one that is too long for a millisecond: it ends each call whose deadline is 25 days away or
# more. Both say DEADLINE_EXCEEDED at once; a server of grpcio does not. No deadline at all, or one below 24 days, is kept.
#
# Seen with @grpc/grpc-js 1.14.7 and @connectrpc/connect-node 2.2.0 on Node 20, grpcio 1.85.3 on CPython 3.11, and Linux, servers
# that answer after 100 ms: grpc-js loses calls of 25, 30 and 49 days and takes those of 50 and 365, connect-node loses all of
# these, both take those of 1 and 24; grpcio takes all. Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check grpcio==1.85.3
npm install --silent --no-fund --no-audit --ignore-scripts @grpc/grpc-js@1.14.7 \
    @connectrpc/connect@2.2.0 @connectrpc/connect-node@2.2.0 @bufbuild/protobuf@2.17.0
cat >serve.mjs <<'JAVASCRIPT'
// Each server answers after a tenth of a second, unless it thinks that the call is over.
import http2 from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { createFileRegistry, fromJson } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import grpc from "@grpc/grpc-js";

const same = (bytes) => bytes;
const method = {
  path: "/any.Service/Wait",
  requestStream: false,
  responseStream: false,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
};

function grpcJs() {
  const server = new grpc.Server();
  server.addService({ Wait: method }, { Wait: (_, done) => setTimeout(() => done(null, Buffer.alloc(0)), 100) });
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
    service: [{ name: "Service", method: [{ name: "Wait", inputType: ".any.Empty", outputType: ".any.Empty" }] }],
  });
  const wait = async (_, { signal }) => {
    await sleep(100, undefined, { signal }).catch(() => signal.throwIfAborted());
    return {};
  };
  const routes = (router) => router.service(createFileRegistry(file, () => undefined).getService("any.Service"), { wait });
  const server = http2.createServer(connectNodeAdapter({ routes }));
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));
}

console.log(JSON.stringify({ "grpc-js": await grpcJs(), "connect-node": await connectNode() }));
JAVASCRIPT
cat >look.py <<'PYTHON'
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

DAYS = (1, 24, 25, 30, 49, 50, 365)
LOST = {"grpcio": [], "grpc-js": [25, 30, 49], "connect-node": [25, 30, 49, 50, 365]}


def wait(request: bytes, _: grpc.ServicerContext) -> bytes:
    time.sleep(0.1)
    return request


def outcome(port: int, days: int) -> str:
    """Make a call with a deadline so many days ahead."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary("/any.Service/Wait")(b"", timeout=days * 86_400)
        except grpc.RpcError as error:
            return error.code().name
    return "OK"


server = grpc.server(ThreadPoolExecutor(4))
handlers = {"Wait": grpc.unary_unary_rpc_method_handler(wait)}
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("any.Service", handlers),))
ports = {"grpcio": server.add_insecure_port("127.0.0.1:0")}
server.start()
changed = False
with subprocess.Popen(["node", "--no-warnings", "serve.mjs"], stdout=subprocess.PIPE, text=True) as process:
    ports |= json.loads(process.stdout.readline())
    for name, port in ports.items():
        outcomes = {days: outcome(port, days) for days in DAYS}
        print(f"{name}:", ", ".join(f"{days} days {seen}" for days, seen in outcomes.items()))
        changed |= outcomes != {days: "DEADLINE_EXCEEDED" if days in LOST[name] else "OK" for days in DAYS}
    process.kill()
server.stop(None)
assert not changed, "a server keeps another deadline than it did"
PYTHON
venv/bin/python look.py
