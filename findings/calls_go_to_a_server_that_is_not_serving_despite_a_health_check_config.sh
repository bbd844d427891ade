#!/usr/bin/env bash
# gRPC: with `healthCheckConfig` in the service config calls go on to a server that is NOT_SERVING, from all languages but one.
#
# A service config can have clients watch the health of each server, and a server that drains says NOT_SERVING and thinks that its
# callers go elsewhere. All libraries take the config, and of four only grpcio asks. grpc-go asks where the program imports
# `google.golang.org/grpc/health`, grpc-java where grpc-services is on the class path; grpc-js does not ask at all. And none of them
# does with the policy that all have by default: health counts with `round_robin`, not with pick_first.
#
# Seen with grpcio 1.85.3 on CPython 3.11, grpc-go 1.85.0, grpc-java 1.85.1 on Java 17, @grpc/grpc-js 1.14.7 on Node 20, and Linux, a
# server whose service is NOT_SERVING: with `round_robin` the call is UNAVAILABLE with grpcio, and with grpc-go and grpc-java with
# that package, and OK with both without it and with grpc-js; without a policy it is OK with all. Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check grpcio==1.85.3 grpcio-health-checking==1.85.1
npm install --silent --no-fund --no-audit --ignore-scripts @grpc/grpc-js@1.14.7
mkdir -p go/plain go/imports java
cat >go/go.mod <<'GO'
module look

go 1.25.0

require google.golang.org/grpc v1.85.0
GO
cat >go/plain/main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

func main() {
	channel, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(os.Args[2]))
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err = channel.Invoke(ctx, "/any.Service/Call", &emptypb.Empty{}, &emptypb.Empty{})
	fmt.Println(status.Code(err), status.Convert(err).Message())
}
GO
sed 's|^import (|&\n\t_ "google.golang.org/grpc/health"|' go/plain/main.go >go/imports/main.go
(cd go && GOFLAGS=-mod=mod go build -o bin/ ./plain ./imports 2>go.log || { cat go.log >&2; exit 1; })
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
services='<dependency><groupId>io.grpc</groupId><artifactId>grpc-services</artifactId><version>1.85.1</version></dependency>'
sed "s|</dependencies>|$services</dependencies>|" java/pom.xml >java/services.xml
mvn --quiet --batch-mode --file java/pom.xml dependency:copy-dependencies -DoutputDirectory="$folder/java/plain"
mvn --quiet --batch-mode --file java/services.xml dependency:copy-dependencies -DoutputDirectory="$folder/java/services"
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
import java.util.Map;
import java.util.concurrent.TimeUnit;

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
    var method = MethodDescriptor.newBuilder(EMPTY, EMPTY)
        .setType(MethodDescriptor.MethodType.UNARY)
        .setFullMethodName("any.Service/Call")
        .build();
    try {
      ClientCalls.blockingUnaryCall(channel, method, CallOptions.DEFAULT.withDeadlineAfter(2, TimeUnit.SECONDS), "");
      System.out.println("OK");
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
const [target, config] = process.argv.slice(2);
const client = new grpc.Client(target, grpc.credentials.createInsecure(), { "grpc.service_config": config });
const deadline = { deadline: Date.now() + 2000 };
client.makeUnaryRequest("/any.Service/Call", same, same, Buffer.alloc(0), deadline, (error) => {
  console.log(error ? `${grpc.status[error.code]} ${error.details}` : "OK");
  client.close();
});
JAVASCRIPT
cat >call.py <<'PYTHON'
import sys

import grpc

with grpc.insecure_channel(sys.argv[1], [("grpc.service_config", sys.argv[2])]) as channel:
    try:
        channel.unary_unary("/any.Service/Call")(b"", timeout=2)
    except grpc.RpcError as error:
        print(error.code().name, error.details())
    else:
        print("OK")
PYTHON
cat >look.py <<'PYTHON'
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

CLIENTS = {
    "grpcio": [sys.executable, "call.py"],
    "grpc-go": ["go/bin/plain"],
    "grpc-go, with its package health": ["go/bin/imports"],
    "grpc-java": ["java", "-cp", "java/plain/*", "java/Look.java"],
    "grpc-java, with grpc-services": ["java", "-cp", "java/services/*", "java/Look.java"],
    "grpc-js": ["node", "look.mjs"],
}
HEALTH = {"healthCheckConfig": {"serviceName": "any.Service"}}
CONFIGS = {"round_robin": HEALTH | {"loadBalancingConfig": [{"round_robin": {}}]}, "no policy": HEALTH}
HEEDING = {"grpcio", "grpc-go, with its package health", "grpc-java, with grpc-services"}
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
watches = calls = 0


class Servicer(health.HealthServicer):
    def Watch(self, request, context, send_response_callback=None):
        global watches
        watches += 1
        return super().Watch(request, context, send_response_callback)


def call(request: bytes, _: grpc.ServicerContext) -> bytes:
    global calls
    calls += 1
    return request


server = grpc.server(ThreadPoolExecutor(8))
servicer = Servicer()
servicer.set("any.Service", NOT_SERVING)
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
handlers = {"Call": grpc.unary_unary_rpc_method_handler(call)}
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("any.Service", handlers),))
target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
server.start()
for policy, config in CONFIGS.items():
    print(policy)
    for name, client in CLIENTS.items():
        watches = calls = 0
        command = [*client, target, json.dumps(config)]
        outcome = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        print(f"    {name:34}{watches} watches, {calls} calls: {outcome}")
        heeds = policy == "round_robin" and name in HEEDING
        assert (watches, calls) == ((1, 0) if heeds else (0, 1)), name
        assert outcome.upper().startswith("UNAVAILABLE " if heeds else "OK"), outcome
server.stop(None)
PYTHON
venv/bin/python look.py
