"""What systemd is told, over a real datagram socket such as it gives to a service."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import Command, Start, with_constants
from patience import AGES, let_pass, until

SERVE = ("serve", "--upstream-url", "http://upstream.invalid", "--auth", "none", "--listen", "127.0.0.1:0")


class Manager:
    """Listens as systemd does.

    Args:
        address: What NOTIFY_SOCKET says.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._end.setblocking(False)
        self._end.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    async def hears(self, ignored: str = "WATCHDOG=1") -> str:
        """Wait for a message, and for no other."""
        while (message := await self.hears_any()) == ignored:
            pass
        return message

    async def hears_any(self) -> str:
        return (await asyncio.get_running_loop().sock_recv(self._end, 4096)).decode()

    def heard(self) -> list[str]:
        """Return what was said, without waiting."""
        messages = []
        while True:
            try:
                messages.append(self._end.recv(4096).decode())
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._end.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(f"@swr-gateway-{os.getpid()}" if request.param == "abstract" else f"{tmp_path}/notify")
    yield manager
    manager.close()


def microseconds() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_service_tells_of_its_life(start: Start, manager: Manager, workers: str) -> None:
    command = await start(*SERVE, "--workers", workers, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="300000")
    assert await manager.hears() == "READY=1"
    assert await manager.hears_any() == "WATCHDOG=1"
    for _ in range(2):
        before = microseconds()
        command.signal(signal.SIGHUP)
        told = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", await manager.hears())
        assert told is not None
        assert before <= int(told[1]) <= microseconds()
        assert await manager.hears() == "READY=1"
    command.signal(signal.SIGTERM)
    assert await manager.hears() == "STOPPING=1"
    assert (await command.ends()).code == 0


async def test_a_reload_has_ended_when_every_worker_has_read_its_files(
    start: Start, manager: Manager, tmp_path: Path
) -> None:
    patient = with_constants(tmp_path / "constants", gateway__workers__supervisor__READ_TIMEOUT=AGES)
    command = await start(*SERVE, "--workers", "2", NOTIFY_SOCKET=manager.address, **patient)
    assert await manager.hears() == "READY=1"
    command.signal(signal.SIGHUP)
    assert (await manager.hears()).startswith("RELOADING=1\n")
    assert await manager.hears() == "READY=1"
    command.signal(signal.SIGTERM)
    assert len(re.findall(r"SIGHUP: there are no files", (await command.ends()).err)) == 2


def read(path: str) -> str:
    """Return what the kernel tells of a process."""
    return (Path("/proc") / path).read_text()


def is_stopped(command: Command) -> bool:
    return read(f"{command.process.pid}/stat").rpartition(")")[2].split()[0] == "T"


async def test_a_loop_that_stands_still_does_not_tell_that_it_lives(start: Start, manager: Manager) -> None:
    command = await start(*SERVE, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="30000")
    assert await manager.hears() == "READY=1"
    command.signal(signal.SIGSTOP)
    await until(lambda: is_stopped(command))
    assert set(manager.heard()) <= {"WATCHDOG=1"}
    await let_pass(0.5)
    assert manager.heard() == []
    command.signal(signal.SIGCONT)
    assert await manager.hears_any() == "WATCHDOG=1"


async def test_what_the_watchdog_aborts_says_where_it_stands(start: Start, manager: Manager) -> None:
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, limits[1]))  # it leaves no core behind
    command = await start(*SERVE, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="3000000")
    resource.setrlimit(resource.RLIMIT_CORE, limits)
    assert await manager.hears() == "READY=1"
    command.signal(signal.SIGABRT)
    ended = await command.ends()
    assert ended.code == -signal.SIGABRT
    assert re.search(r'File ".*/asyncio/.*", line \d+ in run_forever', ended.err)


async def test_a_watchdog_of_another_process_is_not_fed(start: Start, manager: Manager) -> None:
    variables = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "3000", "WATCHDOG_PID": "1"}
    command = await start(*SERVE, **variables)
    assert await manager.hears_any() == "READY=1"
    command.signal(signal.SIGTERM)
    await command.ends()
    assert manager.heard() == ["STOPPING=1"]


async def test_a_watchdog_without_a_time_is_not_fed(start: Start, manager: Manager) -> None:
    command = await start(*SERVE, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="0")
    assert await manager.hears_any() == "READY=1"
    command.signal(signal.SIGTERM)
    await command.ends()
    assert manager.heard() == ["STOPPING=1"]


async def test_what_is_started_from_here_is_not_the_service(start: Start, manager: Manager) -> None:
    variables = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "3000000"}
    command = await start(*SERVE, "--workers", "2", **variables)
    assert await manager.hears() == "READY=1"
    pid = command.process.pid
    workers = read(f"{pid}/task/{pid}/children").split()
    assert len(workers) == 2
    for worker in workers:
        assert not re.search(r"NOTIFY_SOCKET|WATCHDOG", read(f"{worker}/environ"))


async def test_a_service_whose_manager_does_not_listen_serves_all_the_same(start: Start, tmp_path: Path) -> None:
    command = await start(*SERVE, NOTIFY_SOCKET=str(tmp_path / "nobody"))
    told = await command.logs("^systemd was not told .*")
    assert told == "systemd was not told READY: [Errno 2] No such file or directory"
    command.signal(signal.SIGTERM)
    assert (await command.ends()).code == 0
