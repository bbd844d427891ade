#!/usr/bin/env bash
# OpenTelemetry: OTEL_EXPORTER_OTLP_TIMEOUT=2000 is two seconds in Go, Java and JavaScript, and half an hour in Python.
#
# The variables are the same in all languages, so that a fleet can set them in one place, and one would think that a number means
# the same to each service. This one is a number of milliseconds. Python takes it for seconds: the 10000 of OpenTelemetry's
# specification are nearly three hours, for which a collector that does not answer can hold up the spans of a service in Python.
# Where services in several languages share the variables, this one is better left unset.
#
# Seen with OpenTelemetry's OTLP exporters over gRPC for Go 1.47.0, Java 1.68.0 on Java 17, JavaScript
# (@opentelemetry/exporter-trace-otlp-grpc 0.301.0) on Node 20, Python 1.45.2 on CPython 3.11, and Linux, a collector that answers
# nothing: Go, Java and JavaScript give up after 2 s, the call from Python has 2000 s and goes on. Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check grpcio==1.85.3 \
    opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-grpc==1.45.2
npm install --silent --no-fund --no-audit --ignore-scripts @opentelemetry/api@1.10.0 @opentelemetry/sdk-trace@3.1.0 \
    @opentelemetry/exporter-trace-otlp-grpc@0.301.0
mkdir go java
cat >go/go.mod <<'GO'
module trace

go 1.25.0

require (
	go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc v1.47.0
	go.opentelemetry.io/otel/sdk v1.47.0
)
GO
cat >go/main.go <<'GO'
package main

import (
	"context"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/trace"
)

func main() {
	ctx := context.Background()
	exporter, err := otlptracegrpc.New(ctx)
	if err != nil {
		panic(err)
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithSampler(trace.AlwaysSample()))
	_, span := provider.Tracer("any").Start(ctx, "any")
	span.End()
	provider.ForceFlush(ctx)
}
GO
(cd go && GOFLAGS=-mod=mod go build -o trace . 2>go.log || { cat go.log >&2; exit 1; })
cat >java/pom.xml <<'XML'
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>any</groupId><artifactId>trace</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>io.opentelemetry</groupId><artifactId>opentelemetry-sdk-extension-autoconfigure</artifactId><version>1.68.0</version>
    </dependency>
    <dependency>
      <groupId>io.opentelemetry</groupId><artifactId>opentelemetry-exporter-otlp</artifactId><version>1.68.0</version>
    </dependency>
  </dependencies>
</project>
XML
mvn --quiet --batch-mode --file java/pom.xml dependency:copy-dependencies -DoutputDirectory="$folder/java/lib"
cat >java/Trace.java <<'JAVA'
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;
import java.util.concurrent.TimeUnit;

public class Trace {
  public static void main(String[] arguments) {
    var provider = AutoConfiguredOpenTelemetrySdk.initialize().getOpenTelemetrySdk().getSdkTracerProvider();
    provider.get("any").spanBuilder("any").startSpan().end();
    provider.forceFlush().join(1, TimeUnit.MINUTES);
  }
}
JAVA
cat >trace.mjs <<'JAVASCRIPT'
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { TracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace";

const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: new OTLPTraceExporter() })] });
provider.getTracer("any").startSpan("any").end();
await provider.forceFlush();
JAVASCRIPT
cat >trace.py <<'PYTHON'
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
provider.get_tracer("any").start_span("any").end()
PYTHON
cat >look.py <<'PYTHON'
import os
import queue
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PROGRAMS = {
    "Go": ["go/trace"],
    "Java": ["java", "-cp", "java/lib/*", "java/Trace.java"],
    "JavaScript": ["node", "trace.mjs"],
    "Python": [sys.executable, "trace.py"],
}
told: queue.Queue[float] = queue.Queue()  # the seconds that a call says it has
given_up: queue.Queue[float] = queue.Queue()  # the seconds after which its caller gives it up


class Collector(grpc.GenericRpcHandler):
    """Takes spans and answers nothing."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return grpc.unary_unary_rpc_method_handler(self.export) if details.method == EXPORT else None

    def export(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        begun = time.monotonic()
        told.put(context.time_remaining())
        over = threading.Event()
        if context.add_callback(over.set):
            over.wait()
        given_up.put(time.monotonic() - begun)
        return b""


server = grpc.server(ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((Collector(),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
environment = os.environ | {
    "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "2000",
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
}
for name, command in PROGRAMS.items():
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = told.get(timeout=60)
        try:
            after = given_up.get(timeout=6)
        except queue.Empty:
            after = None
        process.kill()
    if after is None:
        given_up.get(timeout=60)
    print(f"{name:11}", "says no deadline" if deadline > 1e9 else f"says {deadline:.0f} s", end=", ")
    print("goes on after 6 s" if after is None else f"gives up after {after:.1f} s")
    if name == "Python":
        assert 1900 < deadline < 2001 and after is None, (deadline, after)
    else:
        assert after is not None and 1.5 < after < 4, after
server.stop(None)
PYTHON
venv/bin/python look.py
