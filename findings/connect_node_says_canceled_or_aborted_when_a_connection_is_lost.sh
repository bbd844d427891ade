#!/usr/bin/env bash
# @connectrpc/connect-node 2.2: calls whose server is killed are `Canceled`, as if their own caller had cancelled them.
#
# When a server's process dies one thinks of UNAVAILABLE for the calls in flight, and grpc-js has it: retry policies are written for
# it. With connect-node, speaking gRPC, it is Unavailable in neither way: where the system closes the dead server's connection in
# order, it is Canceled, the code of an abort by the caller; where the connection is reset, it is Aborted. Only a look at the
# caller's own signal tells a lost server from a call given up.
#
# Seen with @connectrpc/connect-node 2.2.0, @bufbuild/protobuf 2.17.0 and @grpc/grpc-js 1.14.7 on Node 20 and Linux, under a unary
# call and a stream that has begun: server killed with SIGKILL: Canceled, "http/2 stream closed with error code CANCEL (0x8)";
# connection reset: Aborted, "read ECONNRESET"; aborted by the caller: Canceled, "This operation was aborted"; grpc-js UNAVAILABLE
# in the first two. Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-fund --no-audit --ignore-scripts @grpc/grpc-js@1.14.7 \
    @connectrpc/connect@2.2.0 @connectrpc/connect-node@2.2.0 @bufbuild/protobuf@2.17.0
cat >serve.mjs <<'JAVASCRIPT'
// Tells its parent its port and each call that comes, ends none of them, and resets its connections when it is told to.
import http2 from "node:http2";

const sockets = [];
const server = http2.createServer();
server.on("connection", (socket) => sockets.push(socket));
server.on("sessionError", () => {});
server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  if (headers[":path"] === "/any.Service/Many") {
    stream.respond({ ":status": 200, "content-type": "application/grpc" });
    stream.write(Buffer.alloc(5)); // an empty message
  }
  process.send("called");
});
server.listen(0, "127.0.0.1", () => process.send(server.address().port));
process.on("message", () => sockets.forEach((socket) => socket.resetAndDestroy()));
process.on("disconnect", () => process.exit());
JAVASCRIPT
cat >look.mjs <<'JAVASCRIPT'
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { createFileRegistry, fromJson } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import grpc from "@grpc/grpc-js";

const same = (bytes) => bytes;
const type = { inputType: ".any.Empty", outputType: ".any.Empty" };
const file = fromJson(FileDescriptorProtoSchema, {
  name: "any.proto",
  package: "any",
  syntax: "proto3",
  messageType: [{ name: "Empty" }],
  service: [{ name: "Service", method: [{ name: "One", ...type }, { name: "Many", ...type, serverStreaming: true }] }],
});
const service = createFileRegistry(file, () => undefined).getService("any.Service");
const connect = (port) => createClient(service, createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` }));
const grpcJs = (port) => new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
const connectError = (error) => `${Code[error.code]}: ${error.rawMessage}`;
const grpcJsError = (error) => `${grpc.status[error.code]}: ${error.details}`;

const controller = new AbortController();
const calls = {
  "grpc-js, unary": (port) =>
    new Promise((resolve) =>
      grpcJs(port).makeUnaryRequest("/any.Service/One", same, same, Buffer.alloc(0), (error) => resolve(grpcJsError(error))),
    ),
  "grpc-js, stream": (port) =>
    new Promise((resolve) =>
      grpcJs(port)
        .makeServerStreamRequest("/any.Service/Many", same, same, Buffer.alloc(0))
        .on("data", () => {})
        .on("error", (error) => resolve(grpcJsError(error))),
    ),
  "connect-node, unary": (port) => connect(port).one({}, { signal: controller.signal }).catch(connectError),
  "connect-node, stream": async (port) => {
    try {
      for await (const _ of connect(port).many({}));
      return "ended";
    } catch (error) {
      return connectError(error);
    }
  },
};

/** Makes a call of a new server, and lets `end` end it; returns its outcome. */
async function outcome(call, end) {
  const server = fork("serve.mjs");
  const [port] = await once(server, "message");
  const ended = call(port);
  await once(server, "message");
  await sleep(300); // for the first message, and for the server to have read all: else its system resets the connection
  end(server);
  const how = await ended;
  server.kill("SIGKILL");
  return how;
}

const seen = { killed: {}, reset: {} };
for (const [name, call] of Object.entries(calls)) {
  seen.killed[name] = await outcome(call, (server) => server.kill("SIGKILL"));
  seen.reset[name] = await outcome(call, (server) => server.send("reset"));
}
const aborted = await outcome(calls["connect-node, unary"], () => controller.abort());
console.log(seen);
console.log("connect-node, aborted by the caller:", aborted);
for (const kind of ["unary", "stream"]) {
  assert.match(seen.killed[`grpc-js, ${kind}`], /^UNAVAILABLE: /);
  assert.match(seen.reset[`grpc-js, ${kind}`], /^UNAVAILABLE: /);
  assert.equal(seen.killed[`connect-node, ${kind}`], "Canceled: http/2 stream closed with error code CANCEL (0x8)");
  assert.equal(seen.reset[`connect-node, ${kind}`], "Aborted: read ECONNRESET");
}
assert.equal(aborted, "Canceled: This operation was aborted");
process.exit(0); // else connections of the clients keep the process
JAVASCRIPT
node look.mjs
