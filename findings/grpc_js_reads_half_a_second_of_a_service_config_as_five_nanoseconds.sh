#!/usr/bin/env bash
# @grpc/grpc-js 1.14: a method config's `timeout` of "0.5s" is five nanoseconds, and "1.5s" is one second.
#
# A service config writes durations as protobuf's JSON does: "0.5s" is half a second. grpc-js takes the digits behind the point for
# a number of nanoseconds, however many they are: .5 is 5 ns, .500 is 500 ns, and only nine digits, "0.500000000s", are what they
# say. So with "0.5s" each call is DEADLINE_EXCEEDED at once, and "1.9s" is cut to one second.
#
# Seen with @grpc/grpc-js 1.14.7 on Node 20 and Linux, calls to a server that takes 100 ms: 20 of 20 lost with "0.5s" and "0.500s",
# none with "0.500000000s"; a call that is not answered ends after 1.0 s with "1.9s", after 1.9 s with "1.900000000s". Fails should
# that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-fund --no-audit --ignore-scripts @grpc/grpc-js@1.14.7
node --input-type=module - <<'JAVASCRIPT'
import assert from "node:assert/strict";
import grpc from "@grpc/grpc-js";

const same = (bytes) => bytes;
const method = {
  path: "/any.Service/Echo",
  requestStream: false,
  responseStream: false,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
};
const server = new grpc.Server();
// The request is how many milliseconds to take.
server.addService({ Echo: method }, {
  Echo: (call, done) => void setTimeout(done, Number(call.request.toString()), null, call.request),
});
const port = await new Promise((resolve, reject) =>
  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
    error ? reject(error) : resolve(bound),
  ),
);

/** Makes a call with this time-out in the service config; returns its status, and the seconds it took. */
async function call(timeout, milliseconds) {
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
    "grpc.service_config": JSON.stringify({ methodConfig: [{ name: [{}], timeout }] }),
  });
  const begun = performance.now();
  const code = await new Promise((resolve) =>
    client.makeUnaryRequest(method.path, same, same, Buffer.from(String(milliseconds)), (error) => resolve(error?.code ?? 0)),
  );
  client.close();
  return [grpc.status[code], (performance.now() - begun) / 1000];
}

const lost = {};
for (const timeout of ["0.5s", "0.500s", "0.500000000s"]) {
  lost[timeout] = 0;
  for (let i = 0; i < 20; i++) lost[timeout] += (await call(timeout, 100))[0] === "DEADLINE_EXCEEDED" ? 1 : 0;
}
const [cutCode, cut] = await call("1.9s", 4000);
const [wholeCode, whole] = await call("1.900000000s", 4000);
server.forceShutdown();
console.log("lost of 20 calls that take 100 ms:", lost);
console.log(`1.9s: ${cutCode} after ${cut.toFixed(2)} s; 1.900000000s: ${wholeCode} after ${whole.toFixed(2)} s`);
assert.deepEqual(lost, { "0.5s": 20, "0.500s": 20, "0.500000000s": 0 });
assert.deepEqual([cutCode, wholeCode], ["DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"]);
assert.ok(cut > 0.9 && cut < 1.5, `${cut}`);
assert.ok(whole > 1.8 && whole < 2.6, `${whole}`);
JAVASCRIPT
