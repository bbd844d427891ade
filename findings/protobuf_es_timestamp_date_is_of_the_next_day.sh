#!/usr/bin/env bash
# @bufbuild/protobuf 2.17: `timestampDate` rounds, so the last half millisecond of a day is a Date of the next one.
#
# Times that lose digits are cut in most places: 23:59:59.9995 stays on its day. Of four ways from a google.protobuf.Timestamp to
# milliseconds protobuf-es's takes the nearest one, which may be on the next day or in the next year. Of two libraries for
# JavaScript one Date is a millisecond behind the other in half of all cases. google-protobuf adds up in floating point and cuts, as
# one does by hand: there the last tenth of a microsecond is of the next day too, and before 1970 what is cut goes up. Only Python
# goes down each time.
#
# Seen with @bufbuild/protobuf 2.17.0 and google-protobuf 4.0.3 on Node 20, protobuf 7.36.2 on CPython 3.11, and Linux: 2017-09-11
# 23:59:59.9995 is 2017-09-12 00:00:00.000 for protobuf-es, 2017-09-11 23:59:59.999 for the others. Fails should one of them make
# other milliseconds of these six times.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check protobuf==7.36.2
npm install --silent --no-fund --no-audit --ignore-scripts @bufbuild/protobuf@2.17.0 google-protobuf@4.0.3
cat >times.json <<'JSON'
[["2017-09-11T23:59:59.999499999Z", 1505174399, 999499999],
 ["2017-09-11T23:59:59.999500Z", 1505174399, 999500000],
 ["2016-12-31T23:59:59.999999800Z", 1483228799, 999999800],
 ["2016-12-31T23:59:59.999999900Z", 1483228799, 999999900],
 ["1969-12-31T23:59:59.000000001Z", -1, 1],
 ["1969-12-31T23:59:59.999999999Z", -1, 999999999]]
JSON
cat >look.mjs <<'JAVASCRIPT'
import { readFileSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import { TimestampSchema, timestampDate } from "@bufbuild/protobuf/wkt";
import google from "google-protobuf/google/protobuf/timestamp_pb.js";

const seen = JSON.parse(readFileSync("times.json")).map(([, seconds, nanos]) => {
  const other = new google.Timestamp();
  other.setSeconds(seconds);
  other.setNanos(nanos);
  return {
    "protobuf-es": timestampDate(create(TimestampSchema, { seconds: BigInt(seconds), nanos })).getTime(),
    "google-protobuf": other.toDate().getTime(),
    "by hand": new Date(seconds * 1000 + nanos / 1e6).getTime(),
  };
});
console.log(JSON.stringify(seen));
JAVASCRIPT
node look.mjs >seen.json
venv/bin/python - <<'PYTHON'
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp

# Milliseconds behind the whole second, of protobuf-es, google-protobuf, a division by hand, and Python.
EXPECTED = [
    [999, 999, 999, 999],
    [1000, 999, 999, 999],
    [1000, 999, 999, 999],
    [1000, 1000, 1000, 999],
    [0, 1, 1, 0],
    [1000, 1000, 1000, 999],
]

changed = False
times, seen = (json.loads(Path(name).read_text()) for name in ("times.json", "seen.json"))
for (text, seconds, nanos), milliseconds, expected in zip(times, seen, EXPECTED, strict=True):
    timestamp = Timestamp(seconds=seconds, nanos=nanos)
    assert timestamp.ToJsonString() == text, timestamp
    milliseconds["Python"] = timestamp.ToMilliseconds()
    print(text)
    for name, number in milliseconds.items():
        print(f"    {name:16}{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=number):%Y-%m-%d %H:%M:%S.%f}")
    changed |= [number - 1000 * seconds for number in milliseconds.values()] != expected
assert not changed, "one of them makes other milliseconds"
PYTHON
