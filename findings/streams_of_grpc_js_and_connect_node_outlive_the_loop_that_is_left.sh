#!/usr/bin/env bash
# @grpc/grpc-js 1.14, @connectrpc/connect-node 2.2: leaving `for await` over a server's stream does not cancel the call.
#
# Node destroys a readable stream when a loop over it is left, and whoever leaves the loop is done with the call. Yet the call goes
# on: its server is not told, and goes on to send. This is so with grpc-js, whose stream says `destroyed`, and with connect-node,
# whose stream is a plain async iterable. `call.cancel()` and an AbortSignal end it.
#
# Seen with @grpc/grpc-js 1.14.7, @connectrpc/connect-node 2.2.0 and @bufbuild/protobuf 2.17.0 on Node 20 and Linux, a server that
# writes every 20 ms: with both, a second behind the loop's end it is not cancelled and has written some 50 messages; cancelled at
# once by cancel() and abort(). Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-fund --no-audit --ignore-scripts @grpc/grpc-js@1.14.7 \
    @connectrpc/connect@2.2.0 @connectrpc/connect-node@2.2.0 @bufbuild/protobuf@2.17.0
node --input-type=module - <<'JAVASCRIPT'
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { createFileRegistry, fromJson } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import grpc from "@grpc/grpc-js";

const same = (bytes) => bytes;
const method = {
  path: "/any.Service/Tick",
  requestStream: false,
  responseStream: true,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
};
let seen; // what the server knows of its last call
const server = new grpc.Server();
server.addService({ Tick: method }, {
  Tick(call) {
    const mine = (seen = { written: 0, cancelled: false });
    const timer = setInterval(() => {
      call.write(Buffer.alloc(0));
      mine.written++;
    }, 20);
    call.on("cancelled", () => {
      mine.cancelled = true;
      clearInterval(timer);
    });
  },
});
const port = await new Promise((resolve, reject) =>
  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
    error ? reject(error) : resolve(bound),
  ),
);

/** Reads one message of a stream and leaves the loop; returns what the server knows a second later, and behind `end`. */
async function leave(stream, end) {
  for await (const _ of stream) break;
  await sleep(1000);
  const left = { ...seen };
  end();
  await sleep(500);
  return { left, ended: { ...seen } };
}

const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
const call = client.makeServerStreamRequest(method.path, same, same, Buffer.alloc(0));
call.on("error", () => {}); // leaving the loop is an AbortError, cancel() a CANCELLED
const grpcJs = await leave(call, () => call.cancel());

const file = fromJson(FileDescriptorProtoSchema, {
  name: "any.proto",
  package: "any",
  syntax: "proto3",
  messageType: [{ name: "Empty" }],
  service: [{
    name: "Service",
    method: [{ name: "Tick", inputType: ".any.Empty", outputType: ".any.Empty", serverStreaming: true }],
  }],
});
const service = createFileRegistry(file, () => undefined).getService("any.Service");
const transport = createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` });
const controller = new AbortController();
const stream = createClient(service, transport).tick({}, { signal: controller.signal });
const connectNode = await leave(stream, () => controller.abort());
client.close();
server.forceShutdown();

console.log("grpc-js: destroyed", call.destroyed, grpcJs);
console.log("connect-node:", connectNode);
assert.equal(call.destroyed, true);
for (const { left, ended } of [grpcJs, connectNode]) {
  assert.equal(left.cancelled, false);
  assert.ok(left.written > 10, `${left.written}`);
  assert.equal(ended.cancelled, true);
}
JAVASCRIPT
