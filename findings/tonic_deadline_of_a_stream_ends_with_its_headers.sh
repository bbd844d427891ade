#!/usr/bin/env bash
# tonic 0.14: the deadline of a call holds until headers come; a stream that has begun goes on behind it.
#
# Who gives a call half a second thinks that it is over after half a second, whatever the other side does. tonic's client measures
# the time until there is an answer, and the headers of one are enough: a stream that stalls behind its first message is not ended by
# its caller, who waits on where the server does not end it either. Without an answer a call ends in time, but as Cancelled, the code
# of a caller who gave up. grpclib, in Python, ends both in time and raises a TimeoutError, which is no GRPCError. With grpcio and
# grpc-js both are DEADLINE_EXCEEDED. Who streams with tonic puts `tokio::time::timeout` around the reading as well.
#
# Seen with tonic 0.14.9 and tokio 1.48.0 on Rust 1.95, grpclib 0.4.9 and grpcio 1.85.3 on CPython 3.11, @grpc/grpc-js 1.14.7 on
# Node 20, and Linux, deadlines of 0.5 s, a server that ends no call: tonic's stream goes on after 3 s, and each other call of all
# four ends after 0.5 s, as above. Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check grpcio==1.85.3 grpclib==0.4.9 protobuf==7.36.2
npm install --silent --no-fund --no-audit --ignore-scripts @grpc/grpc-js@1.14.7
mkdir -p rust/src
cat >rust/Cargo.toml <<'TOML'
[package]
name = "look"
version = "0.0.0"
edition = "2024"

[dependencies]
tokio = { version = "=1.48.0", features = ["macros", "rt", "time"] }
tonic = { version = "=0.14.9", default-features = false, features = ["channel", "codegen"] }
tonic-prost = "=0.14.9"
TOML
cat >rust/src/main.rs <<'RUST'
use std::time::{Duration, Instant};

use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

type Codec = ProstCodec<(), ()>;

fn request() -> Request<()> {
    let mut request = Request::new(());
    request.set_timeout(Duration::from_millis(500));
    request
}

async fn unary(mut client: Grpc<Channel>) -> Result<(), Status> {
    client.ready().await.expect("connected");
    let path = PathAndQuery::from_static("/any.Service/One");
    client.unary(request(), path, Codec::default()).await.map(|_| ())
}

async fn stream(mut client: Grpc<Channel>) -> Result<(), Status> {
    client.ready().await.expect("connected");
    let path = PathAndQuery::from_static("/any.Service/Many");
    let mut messages = client.server_streaming(request(), path, Codec::default()).await?.into_inner();
    while messages.message().await?.is_some() {}
    Ok(())
}

async fn print(call: impl Future<Output = Result<(), Status>>) {
    let begun = Instant::now();
    let how = match tokio::time::timeout(Duration::from_secs(3), call).await {
        Ok(Err(status)) => format!("{:?} {}", status.code(), status.message()),
        Ok(Ok(())) => "OK".to_owned(),
        Err(_) => "goes on".to_owned(),
    };
    println!("{how} after {:.1} s", begun.elapsed().as_secs_f64());
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let target = std::env::args().nth(1).expect("a target");
    let channel = Endpoint::from_shared(format!("http://{target}")).expect("a URL").connect_lazy();
    print(unary(Grpc::new(channel.clone()))).await;
    print(stream(Grpc::new(channel))).await;
}
RUST
cargo build --quiet --manifest-path rust/Cargo.toml
# Answers nothing, or one message, and ends no call.
cat >serve.mjs <<'JAVASCRIPT'
import http2 from "node:http2";

const server = http2.createServer();
server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  if (headers[":path"] !== "/any.Service/Many") return;
  stream.respond({ ":status": 200, "content-type": "application/grpc" });
  stream.write(Buffer.alloc(5)); // an empty message
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
JAVASCRIPT
cat >look.mjs <<'JAVASCRIPT'
import grpc from "@grpc/grpc-js";

const same = (bytes) => bytes;
const client = new grpc.Client(process.argv[2], grpc.credentials.createInsecure());

/** Prints how a call ends that has half a second. */
async function print(call) {
  const begun = performance.now();
  const error = await new Promise((resolve) => call({ deadline: Date.now() + 500 }, resolve));
  console.log(`${grpc.status[error.code]} after ${((performance.now() - begun) / 1000).toFixed(1)} s`);
}

await print((options, done) => client.makeUnaryRequest("/any.Service/One", same, same, Buffer.alloc(0), options, done));
await print((options, done) =>
  client
    .makeServerStreamRequest("/any.Service/Many", same, same, Buffer.alloc(0), options)
    .on("data", () => {})
    .on("error", done),
);
client.close();
JAVASCRIPT
cat >look.py <<'PYTHON'
import asyncio
import re
import subprocess
import time
from collections.abc import Awaitable, Callable

import grpc
from google.protobuf.empty_pb2 import Empty
from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod


async def ended(call: Callable[[], Awaitable[object]]) -> str:
    """Return how a call ends, and when."""
    begun = time.monotonic()
    try:
        async with asyncio.timeout(3):
            await call()
        how = "OK"
    except grpc.RpcError as error:
        how = error.code().name
    except Exception as error:
        how = repr(error)
    return f"{how} after {time.monotonic() - begun:.1f} s"


async def grpcio(port: int) -> list[str]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:

        async def unary() -> None:
            await channel.unary_unary("/any.Service/One")(b"", timeout=0.5)

        async def stream() -> None:
            async for _ in channel.unary_stream("/any.Service/Many")(b"", timeout=0.5):
                pass

        return [await ended(unary), await ended(stream)]


async def grpclib(port: int) -> list[str]:
    async with Channel("127.0.0.1", port) as channel:
        return [
            await ended(lambda: UnaryUnaryMethod(channel, "/any.Service/One", Empty, Empty)(Empty(), timeout=0.5)),
            await ended(lambda: UnaryStreamMethod(channel, "/any.Service/Many", Empty, Empty)(Empty(), timeout=0.5)),
        ]


def program(port: int, *command: str) -> list[str]:
    return subprocess.run([*command, f"127.0.0.1:{port}"], check=True, capture_output=True, text=True).stdout.splitlines()


with subprocess.Popen(["node", "serve.mjs"], stdout=subprocess.PIPE, text=True) as server:
    port = int(server.stdout.readline())
    seen = {
        "tonic": program(port, "rust/target/debug/look"),
        "grpcio": asyncio.run(grpcio(port)),
        "grpclib": asyncio.run(grpclib(port)),
        "grpc-js": program(port, "node", "look.mjs"),
    }
    server.kill()
for name, (unary, stream) in seen.items():
    print(f"{name:8}unary: {unary}; stream: {stream}")
assert re.fullmatch(r"Cancelled Timeout expired after 0\.[5-9] s", seen["tonic"][0]), seen
assert re.fullmatch(r"goes on after 3\.\d s", seen["tonic"][1]), seen
for name, how in {
    "grpcio": "DEADLINE_EXCEEDED",
    "grpclib": r"TimeoutError\('Deadline exceeded'\)",
    "grpc-js": "DEADLINE_EXCEEDED",
}.items():
    assert all(re.fullmatch(rf"{how} after 0\.[4-9] s", call) for call in seen[name]), seen
PYTHON
venv/bin/python look.py
