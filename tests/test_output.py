"""Commands whose standard streams cannot be written to: a full disk, a reader that left, an encoding, a closed one."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable

import pytest

from commands import Ended, Run, Start, waiting_bytes
from patience import until
from scripted_gateway import ScriptedGateway, scripted_gateway
from swr_gateway_client.v1 import repos_pb2

FULL = "/dev/full"
NO_SPACE = "Error: cannot write to standard output: No space left on device\n"
COMMANDS = [
    pytest.param(("--help",), id="help"),
    pytest.param(("--version",), id="version"),
    pytest.param(("list", "--help"), id="help of a command"),
    pytest.param(("demo",), id="demo"),
    pytest.param(("simulate", "--listen", "127.0.0.1:0"), id="simulate"),
    pytest.param(("check-config", "--region", "cn-north-4"), id="check-config"),
]


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    async with scripted_gateway() as running:
        repos = [repos_pb2.Repo(name=f"仓库-{number}") for number in range(1000)]
        stream = [repos_pb2.StreamReposResponse(repos=repos, next_offset=1000 * (number + 1)) for number in range(20)]
        running.play(tuple(stream))
        yield running


async def run_into(file: int, start: Start, *arguments: str, **variables: str) -> Ended:
    command = await start(*arguments, stdout=file, **variables)
    os.close(file)
    return await command.ends()


def full_disk() -> int:
    return os.open(FULL, os.O_WRONLY)


def broken_pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_full_disk_is_one_line(command: tuple[str, ...], start: Start) -> None:
    ended = await run_into(full_disk(), start, *command)
    assert ended == Ended(1, "", NO_SPACE)


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_reader_that_left_is_told_nothing(command: tuple[str, ...], start: Start) -> None:
    assert await run_into(broken_pipe(), start, *command) == Ended(1, "", "")


@pytest.mark.parametrize("output", ["table", "json", "ndjson", "csv"])
@pytest.mark.parametrize("everything", [(), ("--all",)], ids=["page", "all"])
async def test_a_list_ends_as_the_others_do(
    everything: tuple[str, ...], output: str, gateway: ScriptedGateway, start: Start
) -> None:
    gateway.play((repos_pb2.ListReposResponse(repos=[repos_pb2.Repo(name="r")]),))
    if everything:
        gateway.play((repos_pb2.StreamReposResponse(repos=[repos_pb2.Repo(name="r")], next_offset=1),))
    arguments = ("list", "--target", gateway.target, *everything, "--output", output)
    assert await run_into(full_disk(), start, *arguments) == Ended(1, "", NO_SPACE)
    assert await run_into(broken_pipe(), start, *arguments) == Ended(1, "", "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("output", ["table", "json", "ndjson", "csv"])
async def test_text_that_the_encoding_does_not_have_is_one_line(
    output: str, encoding: str, gateway: ScriptedGateway, run: Run
) -> None:
    ended = await run(
        "list", "--target", gateway.target, "--all", "--output", output, "--columns", "name", PYTHONIOENCODING=encoding
    )
    assert ended.code == 1
    (line,) = ended.err.splitlines()
    assert line.startswith("Error: cannot write to standard output: '\\u4ed3' is not in its encoding")
    assert "PYTHONIOENCODING=utf-8" in line


async def run_without(number: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command one of whose standard streams is closed."""

    def close() -> None:
        os.close(number)

    command = [sys.executable, "-m", "gateway", *arguments]
    out, err = (None if number == closed else subprocess.PIPE for closed in (1, 2))
    return await asyncio.to_thread(
        subprocess.run, command, preexec_fn=close, stdout=out, stderr=err, text=True, check=False
    )


async def test_a_closed_standard_output_is_one_line() -> None:
    ended = await run_without(1, "check-config", "--region", "cn-north-4")
    assert ended.returncode == 1
    assert ended.stderr == "Error: cannot write to standard output: Bad file descriptor\n"


async def test_a_reader_that_is_slow_has_all_of_it_also_through_a_pipe_that_does_not_block(
    gateway: ScriptedGateway, start: Start
) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    room = fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ)
    command = await start("list", "--target", gateway.target, "--all", "--output", "ndjson", stdout=writing)
    os.close(writing)
    await until(lambda: waiting_bytes(reading) == room or command.process.returncode is not None)
    with open(reading) as end:  # noqa: ASYNC230, PTH123 - a pipe, read in another thread
        lines = await asyncio.to_thread(end.readlines)
    assert await command.ends() == Ended(0, "", "")
    assert len(lines) == 20_000


async def test_what_cannot_be_told_on_standard_error_changes_nothing(gateway: ScriptedGateway) -> None:
    rest = repos_pb2.ContentRange(offset=0, count=1, total=5)
    gateway.play((repos_pb2.ListReposResponse(repos=[repos_pb2.Repo(name="r")], content_range=rest),))
    with open(FULL, "w") as full:  # noqa: ASYNC230, PTH123 - nothing is waited for
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "list", "--target", gateway.target, "--output", "csv"),
            *("--columns", "name"),
            stdout=subprocess.PIPE,
            stderr=full,
        )
    out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"name\nr\n")


UNTOLD = [
    pytest.param(("check-config", "--region", "cn-north-4"), 0, id="a note"),
    pytest.param(("check-config", "--timeout", "soon"), 2, id="a problem"),
    pytest.param(("serve", "--timeout", "soon"), 2, id="a problem of serve"),
    pytest.param((), 2, id="no command"),
    pytest.param(("lst",), 2, id="no such command"),
    pytest.param(("list", "--namspace", "x"), 2, id="no such option"),
    pytest.param(("list", "--all", "--limit", "5"), 2, id="options that do not go together"),
    pytest.param(("check-config", "--token", "x"), 2, id="no flag for a secret"),
    pytest.param(("simulate", "--listen", "nowhere"), 2, id="a bad value"),
    pytest.param(("simulate", "--listen", "upstream.invalid:0"), 1, id="a bad address"),
]


@pytest.mark.parametrize("standard_error", [full_disk, broken_pipe])
@pytest.mark.parametrize(("arguments", "code"), UNTOLD)
async def test_what_cannot_be_told_changes_no_exit_code(
    arguments: tuple[str, ...], code: int, standard_error: Callable[[], int], start: Start
) -> None:
    file = standard_error()
    command = await start(*arguments, stderr=file, HTTPS_PROXY="http://proxy:3128")
    os.close(file)
    assert (await command.ends()).code == code


@pytest.mark.parametrize(("arguments", "code"), UNTOLD)
async def test_a_closed_standard_error_changes_no_exit_code(arguments: tuple[str, ...], code: int) -> None:
    ended = await run_without(2, *arguments)
    assert ended.returncode == code
