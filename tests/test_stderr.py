"""Standard error that nobody reads holds nobody up: no call, no health check, no operator, no drain."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
import threading
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from prometheus_client.parser import text_string_to_metric_families

from commands import with_constants
from gateway import stderr as stderr_module
from gateway.stderr import QueuedStream
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from patience import until
from scripted_upstream import ScriptedUpstream, page

CALLS = 500
SMALLEST_PIPE = 4096
DROPPED = "log lines were dropped, because nobody read standard error"


@dataclass
class Piped:
    """A gateway whose standard error is a small pipe, read only when a test does."""

    process: Process
    end: int
    address: str = ""
    operators: str = ""

    def __post_init__(self) -> None:
        self._rest = b""

    async def line(self) -> dict[str, Any]:
        while b"\n" not in self._rest:
            more = await asyncio.to_thread(os.read, self.end, 65536)
            assert more, "it has ended"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return dict(json.loads(line)) if line.startswith(b"{") else {"message": line.decode()}

    async def logs(self, text: str) -> str:
        """Read up to a message with a text in it."""
        while text not in (message := (await self.line())["message"]):
            pass
        return str(message)

    async def ask(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(f"http://{self.operators}{path}") as response:
            return response.status, await response.text()

    async def dropped(self) -> float:
        families = text_string_to_metric_families((await self.ask("/metrics"))[1])
        name = "swr_gateway_log_lines_dropped_total"
        (value,) = [sample.value for family in families for sample in family.samples if sample.name == name]
        return float(value)


Launch = Callable[..., Awaitable[Piped]]


@pytest.fixture
async def launch(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncIterator[Launch]:
    """Start a gateway, and read what it says up to where it serves."""
    started: list[Piped] = []
    upstream.play(page("[]"))

    async def launch(workers: int) -> Piped:
        end, theirs = os.pipe()
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE)
        command = (sys.executable, "-m", "gateway", "serve", "--upstream-url", upstream.url, "--auth", "none")
        addresses = ("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--workers", str(workers))
        few = with_constants(tmp_path / "few", gateway__stderr__MAX_WAITING=20)
        process = await asyncio.create_subprocess_exec(
            *command, *addresses, stdin=DEVNULL, stderr=theirs, env=os.environ | few
        )
        os.close(theirs)
        running = Piped(process, end)
        started.append(running)
        serving = await running.logs("serving on ")
        running.address = serving.split("serving on ")[1].split(",")[0]
        running.operators = serving.split("operators on ")[1].split(",")[0]
        return running

    yield launch
    for one in started:
        os.close(one.end)  # what waits to write there goes on
        with suppress(ProcessLookupError):
            one.process.kill()
        await one.process.wait()


async def call(address: str, count: int) -> None:
    """Call over and over, and on connections enough for all workers."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(address, options) for _ in range(10)]
    for _ in range(count // len(channels)):
        await asyncio.gather(*(RepoServiceStub(one).ListRepos(repos_pb2.ListReposRequest()) for one in channels))
    for channel in channels:
        await channel.close()


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_gateway_whose_log_nobody_reads_serves_and_drains(launch: Launch, workers: int) -> None:
    gateway = await launch(workers)
    await call(gateway.address, CALLS)
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        stub: Any = HealthStub(channel)  # the library's stubs know no methods
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
    assert await gateway.ask("/livez") == (200, "ok\n")
    assert (await gateway.ask("/readyz"))[0] == 200
    assert await gateway.dropped() > 0
    gateway.process.send_signal(signal.SIGTERM)
    assert await gateway.process.wait() == 0


async def test_a_log_that_is_read_again_says_how_much_is_missing_and_ends_in_order(launch: Launch) -> None:
    gateway = await launch(1)
    await call(gateway.address, CALLS)
    dropped = await gateway.dropped()
    assert int((await gateway.logs(DROPPED)).split()[0]) == dropped
    gateway.process.send_signal(signal.SIGTERM)
    for text in ("draining", "stopped"):
        await gateway.logs(text)
    assert await gateway.process.wait() == 0


async def test_an_error_that_nobody_reads_ends_the_start(tmp_path: Path) -> None:
    end, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with suppress(BlockingIOError):
        while os.write(theirs, bytes(SMALLEST_PIPE)):
            pass
    os.set_blocking(theirs, True)
    nobodys = ("--upstream-url", "http://upstream.invalid", "--listen", f"unix:{tmp_path}/no/folder", "--auth", "none")
    command = (sys.executable, "-m", "gateway", "serve", *nobodys, "--admin-listen", "")
    process = await asyncio.create_subprocess_exec(*command, stderr=theirs)
    assert await process.wait() == 1
    os.close(end)
    os.close(theirs)


# The stream alone


@dataclass
class Pipe:
    """A stream into a pipe, and its other end."""

    stream: QueuedStream
    end: int
    theirs: TextIO

    def read(self) -> str:
        assert self.stream.wait(threading.TIMEOUT_MAX)
        return os.read(self.end, 65536).decode()

    def fill(self) -> None:
        """Write past the queue, until nothing more fits."""
        os.set_blocking(self.theirs.fileno(), False)
        with suppress(BlockingIOError):
            while os.write(self.theirs.fileno(), b"." * SMALLEST_PIPE):
                pass
        os.set_blocking(self.theirs.fileno(), True)

    def empty(self) -> str:
        os.set_blocking(self.end, False)
        read = b""
        with suppress(BlockingIOError):
            while more := os.read(self.end, 65536):
                read += more
        os.set_blocking(self.end, True)
        return read.decode()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    end, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE)
    with os.fdopen(theirs, "w", encoding="ascii") as file:
        pipe = Pipe(QueuedStream(file), end, file)
        yield pipe
        os.close(pipe.end)


def test_what_is_written_comes_out_in_order(pipe: Pipe) -> None:
    for number in range(100):
        print(number, file=pipe.stream)
    assert pipe.read().split() == [str(number) for number in range(100)]
    assert pipe.stream.dropped == 0


def test_what_the_encoding_lacks_is_escaped(pipe: Pipe) -> None:
    pipe.stream.write("仓\udcff")
    assert pipe.read() == "\\u4ed3\\udcff"


def test_only_text_is_taken(pipe: Pipe) -> None:
    with pytest.raises((AttributeError, TypeError)):
        pipe.stream.write(b"bytes")  # type: ignore[arg-type] # as click tries, to learn what a stream takes
    pipe.stream.write("text")
    assert pipe.read() == "text"


def test_what_does_not_fit_is_dropped_and_told_when_there_is_room(
    pipe: Pipe, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stderr_module, "MAX_WAITING", 3)
    pipe.fill()
    for number in range(20):
        print(number, file=pipe.stream)
    dropped = pipe.stream.dropped
    assert dropped > 0
    assert not pipe.stream.wait(0)
    pipe.empty()
    assert pipe.stream.wait(threading.TIMEOUT_MAX)
    (record,) = caplog.records
    assert record.getMessage() == f"{dropped} {DROPPED}"


async def test_a_stream_that_others_made_non_blocking_is_waited_for(pipe: Pipe) -> None:
    pipe.fill()
    os.set_blocking(pipe.theirs.fileno(), False)
    pipe.stream.write("late")
    read = ""

    async def came() -> bool:
        nonlocal read
        read += pipe.empty()
        return "late" in read

    await until(came)
    assert pipe.stream.dropped == 0


def test_a_stream_whose_reader_has_gone_is_written_to_no_more(pipe: Pipe, caplog: pytest.LogCaptureFixture) -> None:
    os.close(pipe.end)
    pipe.stream.write("lost")
    assert pipe.stream.wait(threading.TIMEOUT_MAX)
    assert pipe.stream.dropped == 1
    assert caplog.records == []
    pipe.end = os.open(os.devnull, os.O_RDONLY)  # what the fixture closes
