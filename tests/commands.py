"""Commands of the gateway as processes of their own, in a clean environment."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import signal
import sys
import termios
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from patience import HOUR

# No test is about this time: pytest's own limit ends before.
PATIENCE = HOUR

# The Python that has the gateway, where that is not the one of the tests.
PYTHON = os.environ.get("PYTHON_OF_THE_GATEWAY", sys.executable)


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Command:
    """A command that runs."""

    process: Process

    async def prints(self, pattern: str) -> str:
        """Wait for a line on standard output; return what the pattern's group matched."""
        return await self._find(self.process.stdout, pattern, str)

    async def logs(self, pattern: str) -> str:
        """Wait for a message in the JSON lines on standard error; return what the pattern's group matched."""
        return await self._find(self.process.stderr, pattern, lambda line: str(json.loads(line)["message"]))

    async def ends(self) -> Ended:
        """Wait for the end."""
        async with asyncio.timeout(PATIENCE):
            out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return Ended(self.process.returncode, (out or b"").decode(), (err or b"").decode())

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()

    async def _find(self, stream: asyncio.StreamReader | None, pattern: str, read: Callable[[str], str]) -> str:
        assert stream is not None
        lines: list[str] = []
        async with asyncio.timeout(PATIENCE):
            while line := (await stream.readline()).decode():
                lines.append(line)
                if match := re.search(pattern, read(line)):
                    return match[match.lastindex or 0]
        raise AssertionError(f"{lines} and no {pattern!r}, then {await self.ends()}")


def with_constants(folder: Path, **constants: float) -> dict[str, str]:
    """Return variables of a command in all of whose processes constants have other values.

    Args:
        folder: Where to write what sets them: an interpreter looks for it by itself.
        constants: By module and name, with two underscores for each dot: `gateway__telemetry__loop_monitor__BEAT`.
    """
    lines = []
    for path, value in constants.items():
        module, _, name = path.replace("__", ".").rpartition(".")
        lines.append(f"import {module}; {module}.{name} = {value!r}\n")
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("".join(lines))
    return {"PYTHONPATH": str(folder)}


# An interpreter finds it by itself.
_NO_NAME_SERVER = """
import socket, threading

known = socket.getaddrinfo

def look_up(host, *others, **given):
    if host == "upstream.invalid":
        print("looks it up", flush=True)
        threading.Event().wait()
    return known(host, *others, **given)

socket.getaddrinfo = look_up
"""


def without_name_server(folder: Path) -> dict[str, str]:
    """Return variables of a command that is never told the address of upstream.invalid; it prints that it looks it up.

    Args:
        folder: Where to write what sees to that.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_NO_NAME_SERVER)
    return {"PYTHONPATH": str(folder)}


def waiting_bytes(pipe: int) -> int:
    """Return how many bytes were written into a pipe, and not read."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


Start = Callable[..., Awaitable[Command]]
Run = Callable[..., Awaitable[Ended]]


@asynccontextmanager
async def starter() -> AsyncIterator[Start]:
    """Start commands in a clean environment, and end them all at the end."""
    commands: list[Command] = []
    unwanted = re.compile(r"SWR_GATEWAY_|GRPC_|(?:FORCE|NO)_COLOR$|COLUMNS$|\w+_PROXY$", re.IGNORECASE)
    environment = {name: value for name, value in os.environ.items() if not unwanted.match(name)}
    environment["SWR_GATEWAY_ADMIN_LISTEN"] = ""  # its port is fixed by default, and tests run side by side
    # A machine that stands still for a while ends no call.
    environment |= {"SWR_GATEWAY_TIMEOUT": "50m", "SWR_GATEWAY_ATTEMPT_TIMEOUT": "50m"}

    async def start(
        *arguments: str, options: tuple[str, ...] = (), stdout: int = PIPE, stderr: int = PIPE, **variables: str
    ) -> Command:
        process = await asyncio.create_subprocess_exec(
            PYTHON,
            *options,
            "-m",
            "gateway",
            *arguments,
            stdout=stdout,
            stderr=stderr,
            env=environment | variables,
        )
        commands.append(Command(process))
        return commands[-1]

    try:
        yield start
    finally:
        for command in commands:
            await command.stop()
