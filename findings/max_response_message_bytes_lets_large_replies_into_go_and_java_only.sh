#!/usr/bin/env bash
# gRPC: `maxResponseMessageBytes` of a service config lifts the limit of 4 MiB with grpc-go and grpc-java, and with no other.
#
# Clients refuse a reply of more than 4 MiB, and a service config can name the largest one for each method: a server whose pages are
# larger would publish 16 MiB, and think that all its callers may have them. Four libraries do three things with it. grpc-go and
# grpc-java take the config's number in place of their own, up or down. grpcio takes the smaller of both, so it can only be lowered,
# and even an unlimited channel is limited by it. grpc-js does not look at the field. So in one fleet the same call with the same
# config succeeds or is RESOURCE_EXHAUSTED by the caller's language; only options of the channel mean the same in all.
#
# Seen with grpc-go 1.85.0, grpc-java 1.85.1 on Java 17, grpcio 1.85.3 on CPython 3.11, @grpc/grpc-js 1.14.7 on Node 20, and Linux:
# a reply of 6,000,000 bytes with a config of 16 MiB is taken by grpc-go and grpc-java, and RESOURCE_EXHAUSTED with grpcio and
# grpc-js, which say 4194304; a reply of 2,000,000 bytes with a config of 1,000,000 is taken by grpc-js alone; grpcio with
# `grpc.max_receive_message_length` -1 takes 6,000,000 without a config and not with one of 1,000,000. Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check grpcio==1.85.3 protobuf==7.36.2
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
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func main() {
	channel, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(os.Args[2]))
	if err != nil {
		panic(err)
	}
	reply := &wrapperspb.BytesValue{}
	if err = channel.Invoke(context.Background(), os.Args[3], &emptypb.Empty{}, reply); err != nil {
		fmt.Println(status.Code(err), status.Convert(err).Message())
	} else {
		fmt.Println("OK", len(reply.Value))
	}
}
GO
(cd go && GOFLAGS=-mod=mod go build -o look .)
cat >java/pom.xml <<'XML'
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>any</groupId><artifactId>look</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>io.grpc</groupId><artifactId>grpc-netty-shaded</artifactId><version>1.85.1</version></dependency>
    <dependency><groupId>io.grpc</groupId><artifactId>grpc-stub</artifactId><version>1.85.1</version></dependency>
    <dependency><groupId>com.google.code.gson</groupId><artifactId>gson</artifactId><version>2.13.2</version></dependency>
  </dependencies>
</project>
XML
mvn --quiet --batch-mode --file java/pom.xml dependency:copy-dependencies -DoutputDirectory="$folder/java/lib"
cat >java/Look.java <<'JAVA'
import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import io.grpc.CallOptions;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.MethodDescriptor;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Map;
import java.util.logging.Level;
import java.util.logging.Logger;

public class Look {
  private static final MethodDescriptor.Marshaller<byte[]> BYTES = new MethodDescriptor.Marshaller<>() {
    @Override
    public InputStream stream(byte[] value) {
      return InputStream.nullInputStream();
    }

    @Override
    public byte[] parse(InputStream stream) {
      try {
        return stream.readAllBytes();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  };

  public static void main(String[] arguments) {
    Logger.getLogger("io.grpc").setLevel(Level.WARNING); // else a line for each frame behind a refusal
    Map<String, ?> config = new Gson().fromJson(arguments[1], new TypeToken<Map<String, Object>>() {});
    var channel = Grpc.newChannelBuilder(arguments[0], InsecureChannelCredentials.create()).defaultServiceConfig(config).build();
    var method = MethodDescriptor.newBuilder(BYTES, BYTES)
        .setType(MethodDescriptor.MethodType.UNARY)
        .setFullMethodName(arguments[2].substring(1))
        .build();
    try {
      System.out.println("OK " + ClientCalls.blockingUnaryCall(channel, method, CallOptions.DEFAULT, new byte[0]).length);
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
const [target, config, method] = process.argv.slice(2);
const client = new grpc.Client(target, grpc.credentials.createInsecure(), { "grpc.service_config": config });
client.makeUnaryRequest(method, same, same, Buffer.alloc(0), (error, reply) => {
  console.log(error ? `${grpc.status[error.code]} ${error.details}` : `OK ${reply.length}`);
  client.close();
});
JAVASCRIPT
cat >look.py <<'PYTHON'
import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf.wrappers_pb2 import BytesValue

Client = Callable[[str, str, str], str]


class Replies(grpc.GenericRpcHandler):
    """Replies with a field of as many bytes as the method's name says."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        reply = BytesValue(value=bytes(int(details.method.split("/")[2])))
        return grpc.unary_unary_rpc_method_handler(lambda _, __: reply, response_serializer=BytesValue.SerializeToString)


def program(*command: str) -> Client:
    """Return what a program prints that makes one call."""
    return lambda *call: subprocess.run([*command, *call], check=True, capture_output=True, text=True).stdout.strip()


def grpcio(*options: tuple[str, int]) -> Client:
    def call(target: str, config: str, method: str) -> str:
        with grpc.insecure_channel(target, [("grpc.service_config", config), *options]) as channel:
            try:
                return f"OK {len(channel.unary_unary(method)(b''))}"
            except grpc.RpcError as error:
                return f"{error.code().name} {error.details()}"

    return call


CLIENTS = {
    "grpc-go": program("go/look"),
    "grpc-java": program("java", "-cp", "java/lib/*", "java/Look.java"),
    "grpcio": grpcio(),
    "grpcio, no limit of its own": grpcio(("grpc.max_receive_message_length", -1)),
    "grpc-js": program("node", "look.mjs"),
}
# The size of the reply, the config's limit, and who takes it.
CASES = (
    (6_000_000, None, {"grpcio, no limit of its own"}),
    (6_000_000, 16_777_216, {"grpc-go", "grpc-java", "grpcio, no limit of its own"}),
    (2_000_000, None, set(CLIENTS)),
    (2_000_000, 1_000_000, {"grpc-js"}),
)

server = grpc.server(ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((Replies(),))
target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
server.start()
for size, limit, takers in CASES:
    print(f"{size} bytes, the config says {limit}")
    method = {"name": [{}]} | ({} if limit is None else {"maxResponseMessageBytes": limit})
    seen = {name: call(target, json.dumps({"methodConfig": [method]}), f"/any.Service/{size}") for name, call in CLIENTS.items()}
    for name, outcome in seen.items():
        print(f"    {name:30}{outcome}")
    assert {name for name, outcome in seen.items() if outcome.startswith("OK ")} == takers, seen
    refused = [outcome.replace("_", "").upper() for name, outcome in seen.items() if name not in takers]
    assert all(outcome.startswith("RESOURCEEXHAUSTED ") for outcome in refused), refused
server.stop(None)
PYTHON
venv/bin/python look.py
