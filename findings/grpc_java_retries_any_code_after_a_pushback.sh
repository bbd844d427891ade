#!/usr/bin/env bash
# grpc-java 1.85: `grpc-retry-pushback-ms` has calls retried whose code no retry policy names.
#
# A retry policy lists the codes after which a call may be made again, and a server that adds `grpc-retry-pushback-ms` to an error
# says how long to wait before. One would think that the list comes first: a code that is not in it ends the call. So it is with
# grpcio, grpc-go and grpc-js. With grpc-java a wait is a retry, whatever the code. A gateway that answers a rate limit with
# RESOURCE_EXHAUSTED and the wait that its upstream told gets all attempts of the policy from callers in Java, and one from others.
# A wait belongs to codes that may be retried; with others a server says -1, or nothing.
#
# Seen with grpc-java 1.85.1 on Java 17, grpcio 1.85.3 on CPython 3.11, grpc-go 1.85.0, @grpc/grpc-js 1.14.7 on Node 20, and Linux,
# a policy of 4 attempts for UNAVAILABLE alone, a server that fails each call: with a wait of 10 ms RESOURCE_EXHAUSTED and NOT_FOUND
# are 4 calls each with grpc-java, 1 with the others; without it 1 with all. UNAVAILABLE is 4 with all. Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check grpcio==1.85.3
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
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
)

func main() {
	channel, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(os.Args[2]))
	if err != nil {
		panic(err)
	}
	for _, method := range os.Args[3:] {
		channel.Invoke(context.Background(), method, &emptypb.Empty{}, &emptypb.Empty{})
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
import java.io.InputStream;
import java.util.Arrays;
import java.util.Map;

public class Look {
  private static final MethodDescriptor.Marshaller<String> EMPTY = new MethodDescriptor.Marshaller<>() {
    @Override
    public InputStream stream(String value) {
      return InputStream.nullInputStream();
    }

    @Override
    public String parse(InputStream stream) {
      return "";
    }
  };

  public static void main(String[] arguments) {
    Map<String, ?> config = new Gson().fromJson(arguments[1], new TypeToken<Map<String, Object>>() {});
    var channel = Grpc.newChannelBuilder(arguments[0], InsecureChannelCredentials.create()).defaultServiceConfig(config).build();
    for (String path : Arrays.asList(arguments).subList(2, arguments.length)) {
      var method = MethodDescriptor.newBuilder(EMPTY, EMPTY)
          .setType(MethodDescriptor.MethodType.UNARY)
          .setFullMethodName(path.substring(1))
          .build();
      try {
        ClientCalls.blockingUnaryCall(channel, method, CallOptions.DEFAULT, "");
      } catch (StatusRuntimeException expected) {
        // The server counts.
      }
    }
    channel.shutdownNow();
  }
}
JAVA
cat >look.mjs <<'JAVASCRIPT'
import grpc from "@grpc/grpc-js";

const same = (bytes) => bytes;
const [target, config, ...methods] = process.argv.slice(2);
const client = new grpc.Client(target, grpc.credentials.createInsecure(), { "grpc.service_config": config });
for (const method of methods) {
  await new Promise((resolve) => client.makeUnaryRequest(method, same, same, Buffer.alloc(0), resolve));
}
client.close();
JAVASCRIPT
cat >call.py <<'PYTHON'
import sys

import grpc

target, config, *methods = sys.argv[1:]
with grpc.insecure_channel(target, [("grpc.service_config", config)]) as channel:
    for method in methods:
        try:
            channel.unary_unary(method)(b"")
        except grpc.RpcError:
            pass
PYTHON
cat >look.py <<'PYTHON'
import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import grpc

CLIENTS = {
    "grpc-java": ["java", "-cp", "java/lib/*", "java/Look.java"],
    "grpcio": [sys.executable, "call.py"],
    "grpc-go": ["go/look"],
    "grpc-js": ["node", "look.mjs"],
}
CODES = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "NOT_FOUND")
POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.01s",
    "maxBackoff": "0.01s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
CONFIG = json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": POLICY}]})
calls: Counter[str] = Counter()


class Fails(grpc.GenericRpcHandler):
    """Fails each call with the code that is its method's name, of the service `wait` with a wait."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def fail(_: bytes, context: grpc.ServicerContext) -> bytes:
            calls[details.method] += 1
            _, service, code = details.method.split("/")
            if service == "wait":
                context.set_trailing_metadata((("grpc-retry-pushback-ms", "10"),))
            context.abort(grpc.StatusCode[code], "it fails")

        return grpc.unary_unary_rpc_method_handler(fail)


def seen(target: str, client: list[str]) -> dict[str, list[int]]:
    """Return how many calls one call of this client is, of each code, without a wait and with it."""
    calls.clear()
    methods = [f"/{service}/{code}" for service in ("plain", "wait") for code in CODES]
    subprocess.run([*client, target, CONFIG, *methods], check=True)
    return {code: [calls[f"/{service}/{code}"] for service in ("plain", "wait")] for code in CODES}


server = grpc.server(ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((Fails(),))
target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
server.start()
print("calls without a wait, and with it")
for name, client in CLIENTS.items():
    counts = seen(target, client)
    print(f"{name:10}", counts)
    more = 4 if name == "grpc-java" else 1
    assert counts == {"UNAVAILABLE": [4, 4], "RESOURCE_EXHAUSTED": [1, more], "NOT_FOUND": [1, more]}, counts
server.stop(None)
PYTHON
venv/bin/python look.py
