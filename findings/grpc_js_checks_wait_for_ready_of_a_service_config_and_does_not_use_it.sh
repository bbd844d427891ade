#!/usr/bin/env bash
# @grpc/grpc-js 1.14: `waitForReady` of a service config is checked, and no call waits.
#
# With `"waitForReady": true` in a method config a call that is made while nobody listens should wait for a server, to its deadline.
# With gRPC's core, grpcio here, it does. grpc-js refuses a config in which the field is no boolean, and does not look at it again:
# the call is UNAVAILABLE at once. Only an option of the call's own metadata has it wait.
#
# Seen with @grpc/grpc-js 1.14.7 on Node 20, grpcio 1.85.3 on CPython 3.11, and Linux, nobody listening, a deadline of 2 s: grpcio
# DEADLINE_EXCEEDED after 2.0 s, grpc-js UNAVAILABLE after 0.0 s, with the option DEADLINE_EXCEEDED after 2.0 s; "yes" in place of
# true: "Invalid method config: invalid waitForReady". Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check grpcio==1.85.3
npm install --silent --no-fund --no-audit --ignore-scripts @grpc/grpc-js@1.14.7
export CONFIG='{"methodConfig": [{"name": [{}], "waitForReady": true}]}'
# A socket that is bound and does not listen keeps its port free of others, and refuses who connects.
cat >look.py <<'PYTHON'
import os
import socket
import subprocess
import time

import grpc

with socket.socket() as bound:
    bound.bind(("127.0.0.1", 0))
    target = f"127.0.0.1:{bound.getsockname()[1]}"
    with grpc.insecure_channel(target, [("grpc.service_config", os.environ["CONFIG"])]) as channel:
        begun = time.monotonic()
        try:
            channel.unary_unary("/any.Service/Echo")(b"", timeout=2)
        except grpc.RpcError as error:
            code, seconds = error.code().name, time.monotonic() - begun
    print(f"grpcio: {code} after {seconds:.1f} s", flush=True)
    assert code == "DEADLINE_EXCEEDED" and 1.9 < seconds < 3, (code, seconds)
    subprocess.run(["node", "look.mjs", target], check=True)
PYTHON
cat >look.mjs <<'JAVASCRIPT'
import assert from "node:assert/strict";
import grpc from "@grpc/grpc-js";

const same = (bytes) => bytes;

/** Makes a call; returns its status, and the seconds that it took. */
async function call(config, waitForReady) {
  const client = new grpc.Client(process.argv[2], grpc.credentials.createInsecure(), { "grpc.service_config": config });
  const metadata = new grpc.Metadata({ waitForReady });
  const begun = performance.now();
  const code = await new Promise((resolve) =>
    client.makeUnaryRequest("/any.Service/Echo", same, same, Buffer.alloc(0), metadata, { deadline: Date.now() + 2000 }, (error) =>
      resolve(error.code),
    ),
  );
  client.close();
  return [grpc.status[code], (performance.now() - begun) / 1000];
}

const [byConfig, atOnce] = await call(process.env.CONFIG, undefined);
const [byOption, later] = await call(process.env.CONFIG, true);
const refused = await call(process.env.CONFIG.replace("true", '"yes"'), undefined).catch((error) => error.message);
console.log(`grpc-js: ${byConfig} after ${atOnce.toFixed(1)} s; with the option: ${byOption} after ${later.toFixed(1)} s`);
console.log(`grpc-js, with "yes": ${refused}`);
assert.equal(byConfig, "UNAVAILABLE");
assert.ok(atOnce < 1, `${atOnce}`);
assert.equal(byOption, "DEADLINE_EXCEEDED");
assert.ok(later > 1.9 && later < 3, `${later}`);
assert.equal(refused, "Invalid method config: invalid waitForReady");
JAVASCRIPT
venv/bin/python look.py
