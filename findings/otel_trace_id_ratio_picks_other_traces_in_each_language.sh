#!/usr/bin/env bash
# OpenTelemetry: with one ratio `traceidratio` picks the same traces in Python and Go, half of them in Java, others in JavaScript.
#
# The sampler throws no dice: it decides by the trace's id, so that services which decide each for itself pick the same traces, and
# a trace is whole or absent. So one would think, but each SDK reads the id in its own way. Python and Go compare its last eight
# bytes with the ratio. Java takes them for a number with a sign, and compares its amount: half of what it picks others pick too.
# JavaScript folds all sixteen bytes into four. Of the traces that a gateway in Python samples, one in ten, a service in JavaScript
# behind or before it has one in ten, and in four languages one in two hundred is whole. `parentbased_traceidratio` has whole ones:
# there who begins a trace decides for all.
#
# Seen with OpenTelemetry's SDKs for Python 1.45.2 on CPython 3.11, Go 1.47.0, Java 1.60.1 on Java 17, and JavaScript
# (@opentelemetry/sdk-trace-base 2.12.1) on Node 20, and Linux, a ratio of 0.1 and 20,000 ids drawn at random: each picks 10 %; of
# those that Python picks Go has 100 %, Java 51 %, JavaScript 10 %; all four 0.50 % of all. Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check opentelemetry-sdk==1.45.2
npm install --silent --no-fund --no-audit --ignore-scripts @opentelemetry/api@1 @opentelemetry/sdk-trace-base@2.12.1
mkdir go java
cat >go/go.mod <<'GO'
module sample

go 1.25.0

require (
	go.opentelemetry.io/otel/sdk v1.47.0
	go.opentelemetry.io/otel/trace v1.47.0
)
GO
cat >go/main.go <<'GO'
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func main() {
	sampler := sdk.TraceIDRatioBased(0.1)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		id, err := trace.TraceIDFromHex(lines.Text())
		if err != nil {
			panic(err)
		}
		asked := sdk.SamplingParameters{ParentContext: context.Background(), TraceID: id, Name: "any"}
		if sampler.ShouldSample(asked).Decision == sdk.RecordAndSample {
			fmt.Println(lines.Text())
		}
	}
}
GO
(cd go && GOFLAGS=-mod=mod go build -o sample .)
cat >java/pom.xml <<'XML'
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>any</groupId><artifactId>sample</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>io.opentelemetry</groupId><artifactId>opentelemetry-sdk-trace</artifactId><version>1.60.1</version>
    </dependency>
  </dependencies>
</project>
XML
mvn --quiet --batch-mode --file java/pom.xml dependency:copy-dependencies -DoutputDirectory="$folder/java/lib" >&2
cat >java/Sample.java <<'JAVA'
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.context.Context;
import io.opentelemetry.sdk.trace.samplers.Sampler;
import io.opentelemetry.sdk.trace.samplers.SamplingDecision;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.List;

public class Sample {
  private static final Sampler SAMPLER = Sampler.traceIdRatioBased(0.1);

  private static boolean picks(String id) {
    var result = SAMPLER.shouldSample(Context.root(), id, "any", SpanKind.SERVER, Attributes.empty(), List.of());
    return result.getDecision() == SamplingDecision.RECORD_AND_SAMPLE;
  }

  public static void main(String[] arguments) {
    new BufferedReader(new InputStreamReader(System.in)).lines().filter(Sample::picks).forEach(System.out::println);
  }
}
JAVA
cat >sample.mjs <<'JAVASCRIPT'
import { createInterface } from "node:readline";
import { ROOT_CONTEXT, SpanKind } from "@opentelemetry/api";
import { SamplingDecision, TraceIdRatioBasedSampler } from "@opentelemetry/sdk-trace-base";

const sampler = new TraceIdRatioBasedSampler(0.1);
for await (const id of createInterface(process.stdin)) {
  const { decision } = sampler.shouldSample(ROOT_CONTEXT, id, "any", SpanKind.SERVER, {}, []);
  if (decision === SamplingDecision.RECORD_AND_SAMPLED) console.log(id);
}
JAVASCRIPT
cat >look.py <<'PYTHON'
import random
import subprocess

from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

SEEDED = random.Random(1)
IDS = [f"{SEEDED.getrandbits(128):032x}" for _ in range(20_000)]


def picked_by(*command: str) -> set[str]:
    """Return which of the ids a program picks."""
    sampled = subprocess.run(command, input="\n".join(IDS), check=True, capture_output=True, text=True)
    return set(sampled.stdout.split())


sampler = TraceIdRatioBased(0.1)
picked = {
    "Python": {id for id in IDS if sampler.should_sample(None, int(id, 16), "any").decision.is_sampled()},
    "Go": picked_by("go/sample"),
    "Java": picked_by("java", "-cp", "java/lib/*", "java/Sample.java"),
    "JavaScript": picked_by("node", "sample.mjs"),
}
shares = {}
for name, ids in picked.items():
    shares[name] = round(100 * len(ids & picked["Python"]) / len(picked["Python"]))
    print(f"{name:12}picks {100 * len(ids) / len(IDS):4.1f} %, and {shares[name]:3} % of what Python picks")
    assert 9 < 100 * len(ids) / len(IDS) < 11, name
whole = set.intersection(*picked.values())
print(f"picked by all: {100 * len(whole) / len(IDS):.2f} %")
assert shares["Go"] == 100 and 45 < shares["Java"] < 55 and 8 < shares["JavaScript"] < 12, shares
PYTHON
venv/bin/python look.py
