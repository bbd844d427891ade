"""Several processes that share the gateway's ports: how they serve, die, are replaced, and leave."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from prometheus_client.parser import text_string_to_metric_families

from certificates import CA, Folder, issue, pem_of
from commands import Command, Start, starter, with_constants
from gateway import __version__
from gateway.settings.model import Settings
from gateway.start_errors import ListenError, WorkerError
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from gateway.workers import channel as channel_module
from gateway.workers import hanging as hanging_module
from gateway.workers import process as process_module
from gateway.workers import supervisor as supervisor_module
from gateway.workers.channel import Channel, Order
from gateway.workers.ports import SharedPorts
from gateway.workers.process import starts
from gateway.workers.supervisor import Supervisor
from patience import AGES, HOUR, PATIENT, Advance, let_pass, until
from ports import held_port
from scripted_upstream import Act, ScriptedUpstream, page, scripted_upstream

CANARY = "canary-4711"
SERVER = issue("localhost")
REQUEST = repos_pb2.ListReposRequest()
NOWHERE = "http://upstream.invalid"
FOREVER = ("--timeout", "1h", "--attempt-timeout", "1h", "--drain-grace", "1h", "--no-coalesce")
LIST_REPOS = "gateway.swr.v1.RepoService/ListRepos"

# A worker may take its time to start and to leave.
for module, limit in (
    (process_module, "START_TIMEOUT"),
    (process_module, "STOP_TIMEOUT"),
    (supervisor_module, "STOP_TIMEOUT"),
    (hanging_module, "HANGS_AFTER"),
):
    setattr(module, limit, AGES)


# What the kernel tells


def processes_of(folder: Path) -> dict[int, list[str]]:
    """Return the command lines of all processes that were told to keep temporary files in a folder."""
    found: dict[int, list[str]] = {}
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdigit() and f"TMPDIR={folder}" in variables_of(int(process.name)):
                found[int(process.name)] = (process / "cmdline").read_text().split("\0")[:-1]
    return found


def variables_of(pid: int) -> set[str]:
    return set(Path(f"/proc/{pid}/environ").read_text().split("\0"))


def shared_files_of(pid: int) -> list[str]:
    """Return the mapped files that a process writes to."""
    shared = [line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if " rw-s " in line]
    return [line for line in shared if not re.search(r"memfd:|/dev/zero|SYSV", line)]


def workers_of(folder: Path) -> dict[int, int]:
    """Return the ids of the worker processes, by number."""
    module = "gateway.workers.worker"
    lines = processes_of(folder)
    return {int(line[line.index(module) + 1]): pid for pid, line in lines.items() if module in line}


def listens(pid: int, address: str) -> bool:
    """Tell whether a process listens on a port."""
    port = f":{int(address.rpartition(':')[2]):04X}"
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    sockets = {f"socket:[{line[9]}]" for line in lines if line[1].endswith(port) and line[3] == "0A"}
    opened = set()
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                opened.add(str(descriptor.readlink()))
    return bool(sockets & opened)


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


# What callers and operators see


def connect(address: str) -> grpc.aio.Channel:
    """Open a channel with a connection of its own."""
    return grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])


async def call_once(address: str) -> None:
    """Call over a new connection."""
    async with connect(address) as channel:
        await RepoServiceStub(channel).ListRepos(REQUEST)


Held: TypeAlias = "grpc.aio.UnaryUnaryCall[repos_pb2.ListReposRequest, repos_pb2.ListReposResponse]"


async def hold(
    upstream: ScriptedUpstream, channel: grpc.aio.Channel, release: asyncio.Event | Act, name: str = "late"
) -> Held:
    """Begin a call that the upstream answers only at an event, or never; those after it are answered at once."""
    before = len(upstream.requests)
    upstream.play((release, page(f'[{{"name":"{name}"}}]')))
    call = RepoServiceStub(channel).ListRepos(REQUEST)
    await upstream.all_arrived(before + 1)
    upstream.play(page("[]"))
    return call


async def ask(operators: str, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{operators}{path}") as response:
        return response.status, await response.text()


@dataclass(frozen=True)
class Samples:
    """A page of metrics."""

    text: str

    def all(self, name: str, **labels: str) -> list[float]:
        families = text_string_to_metric_families(self.text)
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return [sample.value for sample in samples if labels.items() <= sample.labels.items()]

    def one(self, name: str, **labels: str) -> float:
        (value,) = self.all(name, **labels)
        return value


async def metrics_of(operators: str) -> Samples:
    status, text = await ask(operators, "/metrics")
    assert status == 200
    return Samples(text)


async def until_told(operators: str, status: int, pattern: str) -> None:
    """Wait until a probe is answered so."""

    async def told() -> bool:
        found, text = await ask(operators, "/livez")
        return found == status and re.fullmatch(pattern, text) is not None

    await until(told)


async def until_metrics(operators: str, **wanted: float) -> Samples:
    """Wait until some metrics have some values."""
    while True:
        samples = await metrics_of(operators)
        if all(samples.all(name) == [value] for name, value in wanted.items()):
            return samples


async def until_called(operators: str, calls: float) -> Samples:
    """Wait until so many calls are counted: a worker that does not answer at once is shown as it was."""
    while True:
        samples = await metrics_of(operators)
        if samples.one("grpc_server_call_started_total", grpc_method=LIST_REPOS) == calls:
            return samples


# A gateway as processes


@dataclass
class Fleet:
    """A gateway of two workers as processes, and what it logs."""

    command: Command
    folder: Path
    address: str = ""
    operators: str = ""
    records: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._more = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.command.process.stderr is not None
        while line := (await self.command.process.stderr.readline()).decode():
            self.records.append(json.loads(line) if line.startswith("{") else {"message": line})
            self._more.set()

    async def logs(self, pattern: str, **members: object) -> dict[str, Any]:
        """Wait for a line."""
        while True:
            for record in self.records:
                if re.search(pattern, record["message"]) and members.items() <= record.items():
                    return record
            assert not self._reading.done(), self.records
            self._more.clear()
            await self._more.wait()

    async def starts(self) -> Fleet:
        line = await self.logs("^serving on ")
        match = re.search(r"serving on ([^\s,]+), .*, operators on ([^\s,]+), 2 workers$", line["message"])
        assert match is not None
        self.address, self.operators = match.groups()
        return self

    async def ends(self) -> int:
        await self._reading
        return await self.command.process.wait()

    def workers(self) -> dict[int, int]:
        return workers_of(self.folder)

    async def worker_of(self, channel: grpc.aio.Channel) -> int:
        """Call, and return the number of the worker that served it."""
        name = uuid.uuid4().hex
        await RepoServiceStub(channel).ListRepos(REQUEST, metadata=[("x-request-id", name)])
        return int((await self.logs("^call$", request_id=name))["worker"])

    async def reach_all(self, stack: AsyncExitStack) -> dict[int, grpc.aio.Channel]:
        """Open channels until both workers have one."""
        reached: dict[int, grpc.aio.Channel] = {}
        while len(reached) < 2:
            channel = await stack.enter_async_context(connect(self.address))
            reached.setdefault(await self.worker_of(channel), channel)
        return reached

    def calls(self) -> int:
        """Return how many calls have a line."""
        return sum(record["message"] == "call" for record in self.records)

    def told(self) -> list[tuple[int | None, str]]:
        """Return who said what."""
        return [(record.get("worker"), record["message"]) for record in self.records]

    async def stop(self) -> None:
        for pid in processes_of(self.folder):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self._reading


Launch: TypeAlias = Callable[..., Awaitable[Fleet]]


@asynccontextmanager
async def launching(start: Start, folder: Path) -> AsyncIterator[Launch]:
    async with AsyncExitStack() as stack:

        async def launch(upstream_url: str, *arguments: str, **variables: str) -> Fleet:
            given = ("--upstream-url", upstream_url, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
            command = await start("serve", *given, "--workers", "2", *arguments, TMPDIR=str(folder), **variables)
            fleet = Fleet(command, folder)
            stack.push_async_callback(fleet.stop)
            return await fleet.starts()

        yield launch


@pytest.fixture
async def launch(start: Start, tmp_path: Path) -> AsyncIterator[Launch]:
    """Start a gateway of two workers; every process of it is gone at the end."""
    async with launching(start, tmp_path) as launch:
        yield launch


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def steady(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """A gateway for all tests that leave it as it is."""
    config = tmp_path_factory.mktemp("config") / "gateway.toml"
    config.write_text(f'auth = "token"\ntoken = "{CANARY}"\n', "utf-8")
    async with (
        scripted_upstream() as upstream,
        starter() as start,
        launching(start, tmp_path_factory.mktemp("steady")) as launch,
    ):
        yield await launch(upstream.url, "--config", str(config))


on_steady = pytest.mark.asyncio(loop_scope="module")


@on_steady
async def test_both_workers_get_connections(steady: Fleet) -> None:
    async with AsyncExitStack() as stack:
        assert set(await steady.reach_all(stack)) == {1, 2}


@on_steady
async def test_operators_are_answered_for_all(steady: Fleet) -> None:
    assert await ask(steady.operators, "/livez") == (200, "ok\n")
    status, text = await ask(steady.operators, "/readyz")
    assert (status, text.splitlines()) == (
        200,
        ["ok", "worker 1: ok, upstream circuit: closed", "worker 2: ok, upstream circuit: closed"],
    )


@on_steady
async def test_the_page_for_people_is_of_all_workers(steady: Fleet) -> None:
    async with AsyncExitStack() as stack:
        await steady.reach_all(stack)
    status, text = await ask(steady.operators, "/")
    assert status == 200
    lines = "".join(f"<li>worker {number}: ok, upstream circuit: closed</li>" for number in (1, 2))
    assert f'<ul class="lines">{lines}</ul>' in text
    assert '<dt>Circuit breaker</dt><dd class="value">closed</dd>' in text
    assert '<dt>Requests to the upstream</dt><dd class="value">0 of 200</dd>' in text
    assert "<code>--workers</code></th><td>2</td>" in text
    assert CANARY not in text


@on_steady
async def test_metrics_are_summed_over_the_workers(steady: Fleet) -> None:
    before = sum((await metrics_of(steady.operators)).all("grpc_server_call_started_total", grpc_method=LIST_REPOS))
    async with AsyncExitStack() as stack:
        await steady.reach_all(stack)
        for _ in range(5):
            await call_once(steady.address)
    samples = await until_metrics(steady.operators, swr_gateway_ready=2)
    while (calls := steady.calls()) != samples.one("grpc_server_call_started_total", grpc_method=LIST_REPOS):
        samples = await metrics_of(steady.operators)
    assert calls >= before + 7
    assert samples.one("grpc_server_call_duration_seconds_count", grpc_method=LIST_REPOS, grpc_status="OK") == calls
    assert samples.one("swr_gateway_upstream_in_flight_limit") == 200
    assert samples.one("swr_gateway_workers") == 2
    assert samples.one("swr_gateway_worker_restarts_total") == 0
    assert samples.one("swr_gateway_build_info", version=__version__) == 1
    assert samples.one("swr_gateway_event_loop_lag_seconds_count") > 0


@on_steady
async def test_the_supervisor_does_without_grpc(steady: Fleet) -> None:
    def loaded(pid: int) -> bool:
        return "cygrpc" in Path(f"/proc/{pid}/maps").read_text()

    assert not loaded(steady.command.process.pid)
    assert [loaded(pid) for pid in steady.workers().values()] == [True, True]


def test_what_a_supervisor_imports_is_not_grpc() -> None:
    names = "import sys, gateway.workers.supervisor; print(*{name.partition('.')[0] for name in sys.modules})"
    printed = subprocess.run([sys.executable, "-c", names], stdout=PIPE, check=True, text=True).stdout.split()
    assert {"gateway", "prometheus_client"} <= set(printed)
    assert {"grpc", "aiohttp"}.isdisjoint(printed)


@on_steady
async def test_no_process_shows_a_secret(steady: Fleet) -> None:
    supervisor = variables_of(steady.command.process.pid)
    for pid in steady.workers().values():
        added = {variable.partition("=")[0] for variable in variables_of(pid) - supervisor}
        assert added == {"GRPC_VERBOSITY"}
        assert CANARY not in str(variables_of(pid))
    lines = processes_of(steady.folder)
    assert len(lines) == 3
    assert CANARY not in str(lines) + str(supervisor)


@on_steady
async def test_no_process_needs_a_disk(steady: Fleet) -> None:
    """A full one would end who writes to a file that it has mapped."""
    await metrics_of(steady.operators)
    assert left_in(steady.folder) == []
    for pid in processes_of(steady.folder):
        assert shared_files_of(pid) == []


@on_steady
async def test_what_a_terminal_sends_to_all_processes_does_not_stop_a_worker(steady: Fleet) -> None:
    async with AsyncExitStack() as stack:
        before = steady.workers()
        channels = await steady.reach_all(stack)
        for number in (signal.SIGINT, signal.SIGHUP):
            os.kill(before[1], number)
        assert await steady.worker_of(channels[1]) == 1
        assert steady.workers() == before


@on_steady
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_second_gateway_does_not_join_the_port(steady: Fleet, workers: str) -> None:
    async with starter() as start:
        given = ("--upstream-url", NOWHERE, "--auth", "none", "--listen", steady.address, "--workers", workers)
        ended = await (await start("serve", *given)).ends()
    assert ended.code == 1
    assert f"error: --listen: cannot listen on {steady.address}: " in ended.err
    assert "Traceback" not in ended.err


# What keeps it from starting


@pytest.fixture
def occupied() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield f"127.0.0.1:{other.getsockname()[1]}"


@pytest.mark.parametrize("setting", ["--listen", "--admin-listen"])
async def test_an_address_in_use_is_told_with_its_setting(
    start: Start, tmp_path: Path, occupied: str, setting: str
) -> None:
    given = ("--upstream-url", NOWHERE, "--auth", "none", "--workers", "2", "--listen", "127.0.0.1:0")
    ended = await (await start("serve", *given, setting, occupied, TMPDIR=str(tmp_path))).ends()
    assert ended.code == 1
    assert ended.err.splitlines()[-1].startswith(f"error: {setting}: cannot listen on {occupied}: ")
    assert "Traceback" not in ended.err
    assert left_in(tmp_path) == []


async def run_bare(
    folder: Path, *arguments: str, options: tuple[str, ...] = (), stdin: int = DEVNULL
) -> tuple[int, list[str]]:
    """Run `serve` with two workers in a folder; return how it ended and what it wrote to standard error.

    It is told to drain once it serves.
    """
    given = ("--upstream-url", NOWHERE, "--auth", "none", "--listen", "127.0.0.1:0", "--admin-listen", "")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *options, "-m", "gateway", "serve", *given, "--workers", "2", *arguments),
        stdin=stdin,
        stderr=PIPE,
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert process.stderr is not None
    lines = []
    while line := (await process.stderr.readline()).decode():
        lines.append(line)
        if "serving on" in line:
            process.terminate()
    await process.wait()
    assert process.returncode is not None
    return process.returncode, lines


async def test_a_first_worker_that_cannot_start_ends_the_whole_with_its_own_words(tmp_path: Path) -> None:
    pair = issue("localhost")
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    certificate.write_bytes(pair.chain)
    key.write_bytes(pair.key)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with key.open() as stdin:  # which workers do not inherit
        tls = ("--tls-cert", str(certificate), "--tls-key", "/dev/stdin")
        code, lines = await run_bare(temporary, *tls, stdin=stdin.fileno())
    assert code == 1
    (line,) = lines
    assert line.startswith("error: /dev/stdin: is not a regular file")
    assert left_in(temporary) == []


async def test_files_of_the_working_directory_are_no_modules_of_workers(tmp_path: Path) -> None:
    for name in ("gateway", "click", "socket"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{CANARY}')", "utf-8")
    code, lines = await run_bare(tmp_path, options=("-P",))  # as the installed command does
    assert CANARY not in "".join(lines)
    assert code == 0


# Ports


def test_a_port_is_held_for_those_who_share_it_and_for_nobody_else() -> None:
    with held_port() as port:
        where, address = ("127.0.0.1", port), f"127.0.0.1:{port}"
        with SharedPorts((address,)):
            with pytest.raises(ListenError, match=f"--listen: cannot listen on {address}: "), SharedPorts((address,)):
                pass
            with pytest.raises(OSError, match="in use"):
                socket.create_server(where)
            for _ in range(2):
                with socket.create_server(where, reuse_port=True):
                    pass
        with socket.create_server(where):
            pass


def test_a_port_that_is_refused_leaves_none_held(occupied: str) -> None:
    ports = SharedPorts(("127.0.0.1:0", occupied))
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ListenError, match=occupied), ports:
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_address_of_another_machine_is_refused() -> None:
    with (
        pytest.raises(ListenError, match=r"--listen: cannot listen on 192\.0\.2\.1:0: "),
        SharedPorts(("192.0.2.1:0",)),
    ):
        pass


def test_connections_of_a_gateway_that_has_just_ended_do_not_keep_the_port() -> None:
    """One process does not share its port, and neither do what is left of its connections."""
    with held_port() as port:
        where, address = ("127.0.0.1", port), f"127.0.0.1:{port}"
        with socket.create_server(where) as server, socket.create_connection(where) as client:
            server.accept()[0].close()  # who hangs up first keeps the connection's name for a minute
            assert client.recv(1) == b""
        with SharedPorts((address,)) as ports:
            assert ports.addresses == (address,)
            with pytest.raises(ListenError), SharedPorts((address,)):
                pass


# The end


async def test_workers_drain_one_after_the_other_and_no_call_fails(launch: Launch, upstream: ScriptedUpstream) -> None:
    fleet = await launch(upstream.url, "--auth", "none", *FOREVER)
    first, second = asyncio.Event(), asyncio.Event()
    async with AsyncExitStack() as stack:
        channels = await fleet.reach_all(stack)
        calls = [await hold(upstream, channels[1], first, "1"), await hold(upstream, channels[2], second, "2")]
        stub: Any = HealthStub(channels[2])  # the library's stubs know no methods
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        pids = fleet.workers()

        fleet.command.signal(signal.SIGTERM)
        await until(lambda: not listens(pids[1], fleet.address))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        for _ in range(5):  # for those who have not heard of it
            async with connect(fleet.address) as channel:
                assert await fleet.worker_of(channel) == 2
        assert await fleet.worker_of(channels[2]) == 2
        assert await ask(fleet.operators, "/livez") == (200, "ok\n")
        status, text = await ask(fleet.operators, "/readyz")
        assert (status, text.splitlines()[0]) == (503, "draining")

        first.set()
        assert (await calls[0]).repos[0].name == "1"
        await fleet.logs("^draining$", worker=2)
        second.set()
        assert (await calls[1]).repos[0].name == "2"
    assert await fleet.ends() == 0
    told = [(who, what) for who, what in fleet.told() if what in ("draining", "stopped")]
    # Each process writes its lines in its own time.
    assert [line for line in told if line[0] is None] == [(None, "draining"), (None, "stopped")]
    assert [line for line in told if line[0]] == [(who, what) for who in (1, 2) for what in ("draining", "stopped")]
    assert left_in(fleet.folder) == []


async def test_calls_that_outlast_the_grace_are_ended_in_every_worker(
    launch: Launch, upstream: ScriptedUpstream
) -> None:
    fleet = await launch(upstream.url, "--auth", "none", *FOREVER, "--drain-grace", "1s")
    async with AsyncExitStack() as stack:
        channels = await fleet.reach_all(stack)
        calls = [await hold(upstream, channel, Act.STALL) for channel in channels.values()]
        fleet.command.signal(signal.SIGTERM)
        assert await fleet.ends() == 0
        for call in calls:
            assert await call.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


async def test_the_delay_of_the_drain_is_everybodys(launch: Launch, upstream: ScriptedUpstream) -> None:
    fleet = await launch(upstream.url, "--auth", "none", "--drain-delay", "1h")
    async with AsyncExitStack() as stack:
        channels = await fleet.reach_all(stack)
        watches = []
        for channel in channels.values():
            stub: Any = HealthStub(channel)
            watches.append(stub.Watch(health_pb2.HealthCheckRequest()))
            assert (await watches[-1].read()).status == health_pb2.HealthCheckResponse.SERVING
        fleet.command.signal(signal.SIGTERM)
        for number, watch in enumerate(watches, 1):
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert await fleet.worker_of(channels[number]) == number
        fleet.command.signal(signal.SIGTERM)
        assert await fleet.ends() == 1
    assert processes_of(fleet.folder) == {}


async def test_a_second_signal_leaves_at_once_and_nothing_remains(launch: Launch, upstream: ScriptedUpstream) -> None:
    fleet = await launch(upstream.url, "--auth", "none", *FOREVER)
    async with AsyncExitStack() as stack:
        channels = await fleet.reach_all(stack)
        calls = [await hold(upstream, channel, Act.STALL) for channel in channels.values()]
        fleet.command.signal(signal.SIGTERM)
        await fleet.logs("^draining$", worker=1)
        fleet.command.signal(signal.SIGTERM)
        assert await fleet.ends() == 1
        for call in calls:
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
    assert processes_of(fleet.folder) == {}
    assert left_in(fleet.folder) == []
    assert "Traceback" not in str(fleet.records)


async def test_workers_whose_supervisor_was_killed_drain_by_themselves(
    launch: Launch, upstream: ScriptedUpstream
) -> None:
    fleet = await launch(upstream.url, "--auth", "none", *FOREVER)
    release = asyncio.Event()
    async with connect(fleet.address) as channel:
        call = await hold(upstream, channel, release)
        fleet.command.signal(signal.SIGKILL)
        for number in (1, 2):
            await fleet.logs("^draining$", worker=number)
        release.set()
        assert (await call).repos[0].name == "late"
    await fleet.ends()
    assert {(1, "stopped"), (2, "stopped")} <= set(fleet.told())
    assert processes_of(fleet.folder) == {}


async def test_a_signal_to_read_files_does_no_harm_during_the_start(
    start: Start, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    given = ("--upstream-url", upstream.url, "--auth", "none", "--listen", "127.0.0.1:0")
    command = await start("serve", *given, "--admin-listen", "127.0.0.1:0", "--workers", "2", TMPDIR=str(tmp_path))
    fleet = Fleet(command, tmp_path)
    try:
        await until(lambda: bool(workers_of(tmp_path)))  # it has begun
        command.signal(signal.SIGHUP)
        await fleet.starts()
        await call_once(fleet.address)
    finally:
        await fleet.stop()


# Workers that end


async def test_calls_go_on_while_a_worker_that_was_killed_is_missing(
    launch: Launch, upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("constants") / "late"
    late = with_constants(folder, gateway__workers__supervisor__FIRST_DELAY=HOUR)
    fleet = await launch(upstream.url, "--auth", "none", *FOREVER, **late)
    async with AsyncExitStack() as stack:
        channels = await fleet.reach_all(stack)
        before = fleet.workers()
        in_flight = await hold(upstream, channels[1], Act.STALL)
        lived = await until_metrics(fleet.operators, swr_gateway_ready=2, swr_gateway_calls_in_flight=1)
        calls = lived.one("grpc_server_call_started_total", grpc_method=LIST_REPOS)
        os.kill(before[1], signal.SIGKILL)
        assert await in_flight.code() is grpc.StatusCode.UNAVAILABLE
        await fleet.logs(r"^worker 1 ended with -9; the next one in 3600 s$", level="error")
        gone = {"swr_gateway_workers": 1, "swr_gateway_ready": 1, "swr_gateway_calls_in_flight": 0}
        dead = await until_metrics(fleet.operators, **gone)
        assert dead.one("swr_gateway_worker_restarts_total") == 1
        assert (await ask(fleet.operators, "/readyz"))[0] == 200
        for _ in range(5):
            await RepoServiceStub(channels[2]).ListRepos(REQUEST)
            await call_once(fleet.address)
        await until_called(fleet.operators, calls + 10)


async def test_a_worker_that_is_killed_is_replaced(launch: Launch, upstream: ScriptedUpstream) -> None:
    fleet = await launch(upstream.url, "--auth", "none", *FOREVER)
    async with AsyncExitStack() as stack:
        await fleet.reach_all(stack)
        before = fleet.workers()
        lived = await until_metrics(fleet.operators, swr_gateway_ready=2, swr_gateway_calls_in_flight=0)
        os.kill(before[1], signal.SIGKILL)
        await fleet.logs(r"^worker 1 ended with -9; the next one in 1 s$", level="error")
        await until(lambda: 1 in fleet.workers())
        replaced = await until_metrics(fleet.operators, swr_gateway_ready=2, swr_gateway_workers=2)
        started = [page.one("grpc_server_call_started_total", grpc_method=LIST_REPOS) for page in (lived, replaced)]
        assert started[0] == started[1]
        after = fleet.workers()
        assert (after[1] != before[1], after[2] == before[2]) == (True, True)
        await until(lambda: listens(after[1], fleet.address))


async def test_a_worker_that_is_told_to_end_drains_and_is_replaced(launch: Launch, upstream: ScriptedUpstream) -> None:
    fleet = await launch(upstream.url, "--auth", "none", *FOREVER)
    async with AsyncExitStack() as stack:
        channels = await fleet.reach_all(stack)
        before = fleet.workers()
        release = asyncio.Event()
        in_flight = await hold(upstream, channels[1], release)
        os.kill(before[1], signal.SIGTERM)
        await fleet.logs("^draining$", worker=1)
        assert await fleet.worker_of(channels[2]) == 2
        release.set()
        assert (await in_flight).repos[0].name == "late"
        await fleet.logs(r"^worker 1 ended with 0; the next one in 1 s$")


# The supervisor alone, in this process

Supervise: TypeAlias = Callable[..., Awaitable[Supervisor]]


@pytest.fixture
async def supervise(upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Supervise]:
    """Start a supervisor of two workers."""
    caplog.set_level(logging.INFO)
    async with AsyncExitStack() as stack:

        async def start(**given: object) -> Supervisor:
            defaults: dict[str, object] = {
                "auth": "none",
                "upstream_url": upstream.url,
                "listen": "127.0.0.1:0",
                "admin_listen": "127.0.0.1:0",
                "workers": 2,
                "drain_grace": "1s",
                **PATIENT,
            }
            return await stack.enter_async_context(Supervisor(Settings(**defaults | given)))

        yield start


def of_two(upstream: ScriptedUpstream, drain_grace: str = "10m") -> Settings:
    """Return settings of two workers that nobody asks how they are."""
    defaults = {"auth": "none", "listen": "127.0.0.1:0", "admin_listen": None, "workers": 2, "coalesce": False}
    return Settings.model_validate(PATIENT | defaults | {"upstream_url": upstream.url, "drain_grace": drain_grace})


def operators_of(caplog: pytest.LogCaptureFixture) -> str:
    match = re.search(r"operators on ([^\s,]+)", caplog.text)
    assert match is not None
    return match[1]


def pids_of(supervisor: Supervisor) -> dict[int, int]:
    return {number: worker.process.pid for number, worker in supervisor._workers.items()}


def delays_of(caplog: pytest.LogCaptureFixture) -> list[float]:
    """Return the delays before replacements that were logged."""
    records = [record for record in caplog.records if "the next one in" in record.msg]
    return [
        record.args[2] for record in records if isinstance(record.args, tuple) and isinstance(record.args[2], float)
    ]


async def test_every_worker_listens_on_every_address(supervise: Supervise) -> None:
    supervisor = await supervise(listen="127.0.0.1:0,[::1]:0,localhost:0")
    assert [address.rpartition(":")[0] for address in supervisor.addresses] == ["127.0.0.1", "[::1]", "localhost"]
    for address in supervisor.addresses:
        assert [listens(pid, address) for pid in pids_of(supervisor).values()] == [True, True]
        await call_once(address)


async def test_settings_are_of_any_length(supervise: Supervise, tmp_path: Path) -> None:
    """Longer than what a socket takes at once, as names of all who may call can be."""
    files = Folder(tmp_path / "tls", certificate=SERVER.chain, key=SERVER.key, authorities=pem_of(CA))
    names = ",".join(f"spiffe://corp.example/ns/billing/sa/{number:0200}" for number in range(4000))
    given = {"tls_cert": "certificate", "tls_key": "key", "tls_client_ca": "authorities"}
    supervisor = await supervise(tls_allowed_sans=names, **{name: files.path(file) for name, file in given.items()})
    assert len(supervisor._workers) == 2


async def test_a_worker_that_stands_still_makes_the_whole_not_live(
    supervise: Supervise, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "DEAD_AFTER", 0.6)
    pid = pids_of(await supervise())[1]
    operators = operators_of(caplog)
    os.kill(pid, signal.SIGSTOP)
    try:
        await until_told(operators, 503, r"worker 1: the event loop has not turned for \d+ s\n")
    finally:
        os.kill(pid, signal.SIGCONT)
    await until_told(operators, 200, r"ok\n")


async def test_a_worker_that_hangs_is_replaced_and_calls_go_on(
    supervise: Supervise, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hanging_module, "HANGS_AFTER", 2.0)
    monkeypatch.setattr(hanging_module, "LAST_WORDS", 0.0)
    monkeypatch.setattr(supervisor_module, "FIRST_DELAY", 0.01)
    supervisor = await supervise()
    before = pids_of(supervisor)
    os.kill(before[1], signal.SIGSTOP)
    await until(lambda: pids_of(supervisor).get(1, before[1]) != before[1])
    assert await starts(supervisor._workers[1])
    for _ in range(10):
        await call_once(supervisor.addresses[0])
    assert pids_of(supervisor)[2] == before[2]
    assert "worker 1 hangs: its event loop has not turned for 2 s; it is killed" in caplog.messages
    assert (await metrics_of(operators_of(caplog))).one("swr_gateway_worker_restarts_total") == 1


async def test_a_machine_that_stood_still_for_a_while_has_no_worker_replaced(
    launch: Launch, upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> None:
    limits = {"gateway__workers__hanging__HANGS_AFTER": 2.0, "gateway__workers__hanging__LAST_WORDS": 0.0}
    constants = with_constants(tmp_path_factory.mktemp("constants") / "folder", **limits)
    fleet = await launch(upstream.url, "--auth", "none", **constants)
    before = fleet.workers()
    everyone = list(processes_of(fleet.folder))
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    await let_pass(3.0)
    for pid in everyone:
        os.kill(pid, signal.SIGCONT)
    await let_pass(3.0)  # as long again as a worker may be silent
    assert fleet.workers() == before
    assert (await metrics_of(fleet.operators)).one("swr_gateway_worker_restarts_total") == 0


async def test_a_worker_says_where_its_threads_stand_when_it_is_asked_to(
    launch: Launch, upstream: ScriptedUpstream
) -> None:
    fleet = await launch(upstream.url, "--auth", "none")
    before = fleet.workers()
    os.kill(before[1], hanging_module.WHERE)
    await fleet.logs(r"\(most recent call first\):")
    await fleet.logs(r'File ".*/asyncio/.*", line \d+ in ')
    async with AsyncExitStack() as stack:
        await fleet.reach_all(stack)
    assert fleet.workers() == before


async def test_a_worker_that_does_not_leave_is_killed(
    upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process_module, "STOP_TIMEOUT", 0.2)
    caplog.set_level(logging.INFO)
    supervisor = await Supervisor(of_two(upstream)).__aenter__()
    processes = [worker.process for worker in supervisor._workers.values()]
    os.kill(processes[0].pid, signal.SIGSTOP)
    leaving = asyncio.create_task(supervisor.__aexit__(None, None, None))
    await until(lambda: "draining" in caplog.messages)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert processes[0].returncode == -signal.SIGKILL
    assert processes[1].returncode is not None


async def test_workers_that_leave_at_once_do_not_wait_for_their_calls(
    upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """One is in its drain then, and the other one is not."""
    caplog.set_level(logging.INFO)
    supervisor = await Supervisor(of_two(upstream, drain_grace="1h")).__aenter__()
    processes = [worker.process for worker in supervisor._workers.values()]
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(connect(supervisor.addresses[0])) for _ in range(12)]
        calls = [await hold(upstream, channel, Act.STALL) for channel in channels]  # enough for both
        leaving = asyncio.create_task(supervisor.__aexit__(None, None, None))
        await until(lambda: "draining" in caplog.messages)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert {await call.code() for call in calls} == {grpc.StatusCode.UNAVAILABLE}
    codes = [process.returncode for process in processes]
    assert None not in codes
    assert -signal.SIGKILL not in codes


async def test_a_worker_that_is_told_to_drain_and_to_leave_at_once_together_leaves_at_once(
    upstream: ScriptedUpstream,
) -> None:
    async with Supervisor(of_two(upstream)) as supervisor:
        worker = supervisor._workers[1]
        async with AsyncExitStack() as stack:
            channels = [await stack.enter_async_context(connect(supervisor.addresses[0])) for _ in range(12)]
            calls = [await hold(upstream, channel, Act.STALL) for channel in channels]  # enough for both
            os.kill(worker.process.pid, signal.SIGSTOP)
            worker.tell(Order.DRAIN, AGES)
            worker.tell(Order.STOP_NOW)
            os.kill(worker.process.pid, signal.SIGCONT)
            assert await worker.ends() == 1
            for call in calls:
                call.cancel()


async def test_workers_behind_one_with_long_calls_begin_to_drain_within_the_grace(
    upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture, advance: Advance
) -> None:
    """So the drain does not take as many times the grace as there are workers."""
    caplog.set_level(logging.INFO)
    supervisor = await Supervisor(of_two(upstream, drain_grace="2h")).__aenter__()
    release, (address,) = asyncio.Event(), supervisor.addresses
    first, second = (worker.process.pid for worker in supervisor._workers.values())
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(connect(address)) for _ in range(12)]
        calls = [await hold(upstream, channel, release) for channel in channels]  # enough for both
        leaving = asyncio.create_task(supervisor.__aexit__(None, None, None))
        await until(lambda: not listens(first, address))
        assert listens(second, address)
        advance(HOUR)
        await until(lambda: not listens(second, address))
        assert set(supervisor._workers) == {1, 2}
        release.set()
        assert {(await call).repos[0].name for call in calls} == {"late"}
        await leaving


async def test_the_time_until_the_next_worker_doubles_up_to_a_limit_and_begins_anew_after_one_that_lasted(
    supervise: Supervise, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(supervisor_module, "MAX_DELAY", 0.05)
    supervisor = await supervise()
    dies = shutil.which("false")
    assert dies is not None
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", dies)
        supervisor._workers[1].process.kill()
        await until(lambda: len(delays_of(caplog)) >= 6)
        assert delays_of(caplog)[:6] == [0.01, 0.02, 0.04, 0.05, 0.05, 0.05]
        patch.setattr(supervisor_module, "LASTED", 0.0)
        count = len(delays_of(caplog))
        await until(lambda: len(delays_of(caplog)) >= count + 3)
        assert delays_of(caplog)[count + 1 : count + 3] == [0.01, 0.01]
    samples = await until_metrics(operators_of(caplog), swr_gateway_workers=2, swr_gateway_ready=2)
    assert samples.one("swr_gateway_worker_restarts_total") == len(delays_of(caplog))


async def test_a_process_that_cannot_be_started_is_tried_again(
    supervise: Supervise, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A machine that has killed a worker for its memory may have none for the next one either."""
    monkeypatch.setattr(supervisor_module, "FIRST_DELAY", 0.01)
    supervisor = await supervise()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(tmp_path / "missing"))
        supervisor._workers[1].process.kill()
        await until(lambda: len(delays_of(caplog)) >= 2)
    await until_metrics(operators_of(caplog), swr_gateway_workers=2, swr_gateway_ready=2)


async def test_no_worker_is_started_during_the_drain(
    upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, advance: Advance
) -> None:
    monkeypatch.setattr(supervisor_module, "FIRST_DELAY", HOUR)
    caplog.set_level(logging.INFO)
    release = asyncio.Event()
    supervisor = await Supervisor(of_two(upstream)).__aenter__()
    supervisor._workers[1].process.kill()
    await until(lambda: len(delays_of(caplog)) == 1)
    async with connect(supervisor.addresses[0]) as channel:
        call = await hold(upstream, channel, release)
        leaving = asyncio.create_task(supervisor.__aexit__(None, None, None))
        await until(lambda: "draining" in caplog.messages)
        begun: list[int] = []
        monkeypatch.setattr(supervisor, "_start", begun.append)
        advance(HOUR)
        release.set()
        await call
        await leaving
    assert begun == []


async def test_what_workers_have_counted_outlives_them_and_what_they_measured_does_not(
    supervise: Supervise, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "FIRST_DELAY", 0.01)
    supervisor = await supervise()
    operators, (address,) = operators_of(caplog), supervisor.addresses
    for calls in (10, 20, 30):
        for _ in range(10):
            await call_once(address)
        samples = await until_called(operators, calls)
        assert (
            samples.one("grpc_server_call_duration_seconds_bucket", grpc_method=LIST_REPOS, le="+Inf", grpc_status="OK")
            == calls
        )
        before = dict(supervisor._workers)
        for worker in before.values():
            worker.process.kill()
        while any(supervisor._workers.get(number) in (None, worker) for number, worker in before.items()):
            await metrics_of(operators)
        samples = await until_metrics(operators, swr_gateway_ready=2, swr_gateway_upstream_in_flight_limit=200)
        assert samples.one("grpc_server_call_started_total", grpc_method=LIST_REPOS) == calls
        assert samples.one("swr_gateway_build_info", version=__version__) == 1


async def test_a_worker_that_is_told_to_end_leaves_what_it_has_counted_to_the_last(
    supervise: Supervise, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "FIRST_DELAY", HOUR)
    supervisor = await supervise()
    for _ in range(10):
        await call_once(supervisor.addresses[0])
    for worker in list(supervisor._workers.values()):
        worker.process.terminate()
    await until(lambda: not supervisor._workers)
    await until_called(operators_of(caplog), 10)


async def test_metrics_are_shown_of_a_worker_that_does_not_answer(
    supervise: Supervise, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "COUNT_TIMEOUT", 0.1)
    supervisor = await supervise()
    operators = operators_of(caplog)
    for _ in range(10):
        await call_once(supervisor.addresses[0])
    await until_called(operators, 10)
    pid = pids_of(supervisor)[1]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert (await metrics_of(operators)).one("grpc_server_call_started_total", grpc_method=LIST_REPOS) == 10
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_worker_that_has_drained_is_gone_and_one_that_starts_has_no_loop_yet(
    upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, advance: Advance
) -> None:
    monkeypatch.setattr(supervisor_module, "DEAD_AFTER", -1.0)
    release = asyncio.Event()
    supervisor = await Supervisor(of_two(upstream)).__aenter__()
    assert [problem.partition(":")[0] for problem in supervisor._problems()] == ["worker 1", "worker 2"]
    supervisor._workers[1].started.clear()
    assert [problem.partition(":")[0] for problem in supervisor._problems()] == ["worker 2"]
    assert [worker.number for worker in supervisor._serving()] == [1]
    async with connect(supervisor.addresses[0]) as channel:
        call = await hold(upstream, channel, release)
        leaving = asyncio.create_task(supervisor.__aexit__(None, None, None))

        def one_is_left() -> bool:
            advance(600.0)  # whichever has the call, the other one is told to drain as well
            return len(supervisor._workers) == 1

        await until(one_is_left)
        release.set()
        await call
        await leaving
    assert not supervisor._workers


async def test_one_address_of_a_name_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name may have addresses of IPv6 where the machine has none."""
    found = socket.getaddrinfo("127.0.0.1", 0, type=socket.SOCK_STREAM)
    foreign = socket.getaddrinfo("203.0.113.1", 0, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [*foreign, *found])
    with SharedPorts(("gateway.example:0",)) as ports:
        assert re.fullmatch(r"gateway\.example:[1-9]\d*", ports.addresses[0])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: foreign)
    refused = "--listen: cannot listen on gateway.example:0: not an address of this machine"
    with pytest.raises(ListenError, match=re.escape(refused)):
        SharedPorts(("gateway.example:0",)).__enter__()


@pytest.mark.parametrize("taken", ["127.0.0.1", "::1"])
def test_a_port_of_localhost_is_held_on_both_of_its_addresses(taken: str) -> None:
    try:
        occupied = socket.create_server((taken, 0), family=socket.AF_INET6 if ":" in taken else socket.AF_INET)
    except OSError:
        pytest.skip("needs IPv6")
    with occupied, pytest.raises(ListenError, match="Address already in use"):
        SharedPorts((f"localhost:{occupied.getsockname()[1]}",)).__enter__()


async def test_a_worker_that_does_not_start_is_an_error(
    supervise: Supervise, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(WorkerError):
        await supervise(tls_cert=tmp_path / "none", tls_key=tmp_path / "none")
    assert capfd.readouterr().err == f"error: {tmp_path}/none: No such file or directory\n"


# The channel


@pytest.fixture
async def channels() -> AsyncIterator[tuple[Channel, Channel]]:
    """Two ends."""
    ours, theirs = map(Channel.open, channel_module.open_pair())
    pair = await ours, await theirs
    yield pair
    for end in pair:
        await end.close()


MESSAGES = [b"one", b"", b"large" * 1_000_000, b"two"]


async def test_messages_of_a_channel_are_kept_apart_whatever_their_length(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    for message in MESSAGES:
        ours.send(message)
    closing = asyncio.create_task(ours.close())
    assert [message async for message in theirs] == MESSAGES
    await closing
    theirs.send(b"nobody is there")


async def test_a_message_is_read_before_there_is_a_loop() -> None:
    ours, theirs = channel_module.open_pair()
    with theirs:
        channel = await Channel.open(ours)
        channel.send(MESSAGES[2])
        assert await asyncio.to_thread(channel_module.read_first, theirs) == MESSAGES[2]
        await channel.close()
        assert await asyncio.to_thread(channel_module.read_first, theirs) == b""


async def test_who_does_not_listen_is_behind_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = channel_module.open_pair()
    with theirs:
        channel = await Channel.open(ours)
        assert not channel.is_behind
        channel.send(MESSAGES[2])
        assert channel.is_behind
        monkeypatch.setattr(channel_module, "_CLOSE_TIMEOUT", 0.0)
        await channel.close()
