"""Time from the start of the process to SERVING, memory when idle, and the imports that take the longest."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from benchmarks.process import SERVE, address_in, resident_mebibytes, running

ROUNDS = 5


def main() -> None:
    starts, sizes = zip(*(_start() for _ in range(ROUNDS)), strict=True)
    print(f"\nStart to SERVING: {statistics.median(starts):.2f} s    idle memory: {statistics.median(sizes):.0f} MiB")
    print("Slowest imports, milliseconds with all that they import:")
    for module, milliseconds in _slowest_imports(8):
        print(f"{milliseconds:>8.0f}  {module}")


def _start() -> tuple[float, float]:
    begin = time.perf_counter()
    with running(*SERVE, "--upstream-url", "http://127.0.0.1:1") as (process, line):
        asyncio.run(_until_serving(address_in(line)))
        return time.perf_counter() - begin, resident_mebibytes(process.pid)


async def _until_serving(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        reply = await HealthStub(channel).Check(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


def _slowest_imports(count: int) -> list[tuple[str, float]]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import gateway.cli.serve"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines()[1:]]
    imports = [(name.strip(), int(total) / 1000) for _, total, name in rows if not name.strip().startswith("gateway")]
    return sorted(imports, key=lambda entry: -entry[1])[:count]


if __name__ == "__main__":
    main()
