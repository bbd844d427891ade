#!/usr/bin/env bash
# OpenTelemetry: its exporters for Prometheus give one metric three names, by the language of the service.
#
# A metric has one name and one unit in the conventions that all languages share, and one would think that one query finds it in all
# services, the more so as each exporter appends `_total` to a counter. The unit each appends by rules of its own. JavaScript appends
# none: a panel of `grpc_server_call_duration_seconds` lacks the services in JavaScript, and an alert on it does not fire for them. A
# unit that the name has already comes again in Java and Python, and not in Go. A gauge with the unit 1 is a `_ratio` in Go and Java,
# and not in Python. Only without a unit, or with one in braces, do all four agree.
#
# Seen with OpenTelemetry's exporters for Go 0.69.0, Java 1.60.1-alpha on Java 17, JavaScript (@opentelemetry/exporter-prometheus
# 0.301.0) on Node 20, Python 0.66b2 on CPython 3.11, and Linux: the table below. Fails should one of them name a metric otherwise.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check \
    opentelemetry-sdk==1.45.2 opentelemetry-exporter-prometheus==0.66b2
npm install --silent --no-fund --no-audit --ignore-scripts @opentelemetry/api@1.10.0 @opentelemetry/sdk-metrics@3.1.1 \
    @opentelemetry/exporter-prometheus@0.301.0
mkdir go java
cat >go/go.mod <<'GO'
module serve

go 1.25.0

require (
	github.com/prometheus/client_golang v1.23.2
	go.opentelemetry.io/otel/exporters/prometheus v0.69.0
	go.opentelemetry.io/otel/metric v1.47.0
	go.opentelemetry.io/otel/sdk/metric v1.47.0
)
GO
cat >go/main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
)

func main() {
	exporter, err := prometheus.New()
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	meter := sdk.NewMeterProvider(sdk.WithReader(exporter)).Meter("any")
	duration, _ := meter.Float64Histogram("grpc.server.call.duration", metric.WithUnit("s"))
	duration.Record(ctx, 1)
	wait, _ := meter.Float64Histogram("queue.wait", metric.WithUnit("ms"))
	wait.Record(ctx, 1)
	started, _ := meter.Int64Counter("grpc.client.attempt.started", metric.WithUnit("{attempt}"))
	started.Add(ctx, 1)
	sent, _ := meter.Int64Counter("bytes.sent", metric.WithUnit("By"))
	sent.Add(ctx, 1)
	share, _ := meter.Float64Gauge("cache.share", metric.WithUnit("1"))
	share.Record(ctx, 1)
	rate, _ := meter.Float64Gauge("upstream.rate", metric.WithUnit("{request}/s"))
	rate.Record(ctx, 1)
	refused, _ := meter.Int64Counter("calls.refused")
	refused.Add(ctx, 1)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, promhttp.Handler()))
}
GO
(cd go && GOFLAGS=-mod=mod go build -o serve . 2>go.log || { cat go.log >&2; exit 1; })
cat >java/pom.xml <<'XML'
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>any</groupId><artifactId>serve</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>io.opentelemetry</groupId><artifactId>opentelemetry-exporter-prometheus</artifactId><version>1.60.1-alpha</version>
    </dependency>
    <dependency>
      <groupId>io.opentelemetry</groupId><artifactId>opentelemetry-sdk-metrics</artifactId><version>1.60.1</version>
    </dependency>
  </dependencies>
</project>
XML
mvn --quiet --batch-mode --file java/pom.xml dependency:copy-dependencies -DoutputDirectory="$folder/java/lib"
cat >java/Serve.java <<'JAVA'
import io.opentelemetry.exporter.prometheus.PrometheusHttpServer;
import io.opentelemetry.sdk.metrics.SdkMeterProvider;
import java.net.ServerSocket;

public class Serve {
  public static void main(String[] arguments) throws Exception {
    int port;
    try (var free = new ServerSocket(0)) {
      port = free.getLocalPort();
    }
    var exporter = PrometheusHttpServer.builder().setHost("127.0.0.1").setPort(port).build();
    var meter = SdkMeterProvider.builder().registerMetricReader(exporter).build().get("any");
    meter.histogramBuilder("grpc.server.call.duration").setUnit("s").build().record(1);
    meter.histogramBuilder("queue.wait").setUnit("ms").build().record(1);
    meter.counterBuilder("grpc.client.attempt.started").setUnit("{attempt}").build().add(1);
    meter.counterBuilder("bytes.sent").setUnit("By").build().add(1);
    meter.gaugeBuilder("cache.share").setUnit("1").build().set(1);
    meter.gaugeBuilder("upstream.rate").setUnit("{request}/s").build().set(1);
    meter.counterBuilder("calls.refused").build().add(1);
    System.out.println(port);
    Thread.currentThread().join();
  }
}
JAVA
cat >serve.mjs <<'JAVASCRIPT'
import http from "node:http";
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus";
import { MeterProvider } from "@opentelemetry/sdk-metrics";

const exporter = new PrometheusExporter({ preventServerStart: true });
const meter = new MeterProvider({ readers: [exporter] }).getMeter("any");
meter.createHistogram("grpc.server.call.duration", { unit: "s" }).record(1);
meter.createHistogram("queue.wait", { unit: "ms" }).record(1);
meter.createCounter("grpc.client.attempt.started", { unit: "{attempt}" }).add(1);
meter.createCounter("bytes.sent", { unit: "By" }).add(1);
meter.createGauge("cache.share", { unit: "1" }).record(1);
meter.createGauge("upstream.rate", { unit: "{request}/s" }).record(1);
meter.createCounter("calls.refused").add(1);
const server = http.createServer((request, response) => exporter.getMetricsRequestHandler(request, response));
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
JAVASCRIPT
cat >serve.py <<'PYTHON'
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import start_http_server

meter = MeterProvider([PrometheusMetricReader()]).get_meter("any")
meter.create_histogram("grpc.server.call.duration", "s").record(1)
meter.create_histogram("queue.wait", "ms").record(1)
meter.create_counter("grpc.client.attempt.started", "{attempt}").add(1)
meter.create_counter("bytes.sent", "By").add(1)
meter.create_gauge("cache.share", "1").set(1)
meter.create_gauge("upstream.rate", "{request}/s").set(1)
meter.create_counter("calls.refused").add(1)
server, thread = start_http_server(0, "127.0.0.1")
print(server.server_port, flush=True)
thread.join()
PYTHON
cat >look.py <<'PYTHON'
import re
import subprocess
import sys
import urllib.request

PROGRAMS = {
    "Go": ["go/serve"],
    "Java": ["java", "-cp", "java/lib/*", "java/Serve.java"],
    "JavaScript": ["node", "serve.mjs"],
    "Python": [sys.executable, "serve.py"],
}
# The names of each metric, by language in this order.
METRICS = {
    "grpc.server.call.duration, s": ["_seconds", "_seconds", "", "_seconds"],
    "queue.wait, ms": ["_milliseconds", "_milliseconds", "", "_milliseconds"],
    "upstream.rate, {request}/s": ["_per_second", "_per_second", "", "_per_second"],
    "bytes.sent, By": ["_total", "_bytes_total", "_total", "_bytes_total"],
    "cache.share, 1": ["_ratio", "_ratio", "", ""],
    "grpc.client.attempt.started, {attempt}": ["_total"] * 4,
    "calls.refused, no unit": ["_total"] * 4,
}


def names(command: list[str]) -> set[str]:
    """Return the names that a program gives its metrics, those of histograms without their endings."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        with urllib.request.urlopen(f"http://127.0.0.1:{process.stdout.readline().strip()}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        process.kill()
    return {re.sub("_(bucket|sum|count)$", "", re.match(r"\w+", line)[0]) for line in lines if line and line[0] != "#"}


found = {name: names(command) for name, command in PROGRAMS.items()}
changed = False
for metric, expected in METRICS.items():
    stem = metric.partition(",")[0].replace(".", "_")
    seen = {name: ", ".join(sorted(each for each in of_one if each.startswith(stem))) for name, of_one in found.items()}
    print(metric)
    print("    " + "; ".join(f"{name}: {each}" for name, each in seen.items()))
    changed |= list(seen.values()) != [stem + ending for ending in expected]
assert not changed, "an exporter names a metric otherwise than it did"
PYTHON
venv/bin/python look.py
