"""SIGHUP: files that changed are read again at once, by every process of a gateway."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest

from certificates import CA, Mount, client_context, issue, pem_of
from commands import Command, Start, with_constants
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from patience import AGES
from scripted_upstream import ScriptedUpstream

CHANGES = 3
HOST = "127.0.0.1"
NO_FILE = "settings have no file, and are read at the start only"
READ_AGAIN = (
    "server_tls: read again",
    "token_file: read again",
    f"SIGHUP: read again: token_file, server_tls; {NO_FILE}",
)


class Served:
    """A gateway with a token and a certificate in files, and what it logs."""

    def __init__(self, command: Command, files: Mount, workers: int) -> None:
        self.command = command
        self.files = files
        self.processes = [None] if workers == 1 else list(range(1, workers + 1))
        self.address = ""
        self.records: list[dict[str, Any]] = []

    async def next_line(self) -> dict[str, Any]:
        assert self.command.process.stderr is not None
        self.records.append(json.loads(await self.command.process.stderr.readline()))
        return self.records[-1]

    async def starts(self) -> Served:
        line: str = (await self.next_line())["message"]
        assert line.startswith("serving on ")
        self.address = line.split()[2].rstrip(",")
        return self

    async def tells(self, *messages: str) -> None:
        """Wait until every process has told something, and nothing else."""
        missing = [(process, message) for process in self.processes for message in messages]
        while missing:
            record = await self.next_line()
            if record["message"] != "call":
                missing.remove((record.get("worker"), record["message"]))

    def hang_up(self) -> None:
        self.command.signal(signal.SIGHUP)

    async def call(self) -> None:
        """Call over a new connection."""
        credentials = grpc.ssl_channel_credentials(pem_of(CA))
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.secure_channel(self.address, credentials, options) as channel:
            await RepoServiceStub(channel).ListRepos(repos_pb2.ListReposRequest())

    async def shows(self) -> bytes:
        """Return the certificate that a new connection sees."""
        host, _, port = self.address.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port), ssl=client_context())
        connection: ssl.SSLObject = writer.get_extra_info("ssl_object")
        writer.transport.abort()
        return connection.getpeercert(binary_form=True) or b""

    async def drains(self) -> None:
        self.command.signal(signal.SIGTERM)
        ended = await self.command.ends()
        assert ended.code == 0
        self.records += map(json.loads, ended.err.splitlines())


async def serve(start: Start, upstream: ScriptedUpstream, folder: Path, workers: int = 1) -> Served:
    pair = issue(HOST)
    files = Mount(folder / "files", certificate=pair.chain, key=pair.key, token=b"first")
    tls = ("--tls-cert", str(files.path("certificate")), "--tls-key", str(files.path("key")))
    token = ("--auth", "token", "--token-file", str(files.path("token")))
    given = ("--upstream-url", upstream.url, "--listen", f"{HOST}:0", "--workers", str(workers))
    # Nobody looks at the files by himself.
    variables = with_constants(
        folder / "constants", gateway__files__watch__LOOK_EVERY=AGES, gateway__files__reloading__PATIENCE=AGES
    )
    return await Served(await start("serve", *given, *tls, *token, **variables), files, workers).starts()


@pytest.mark.parametrize("workers", [1, 2])
async def test_what_changed_is_read_again_at_once_by_every_process(
    start: Start, upstream: ScriptedUpstream, tmp_path: Path, workers: int
) -> None:
    served = await serve(start, upstream, tmp_path, workers)
    for change in range(CHANGES):
        pair = issue(HOST)
        served.files.put(certificate=pair.chain, key=pair.key, token=f"token-{change}".encode())
        served.hang_up()
        await served.tells(*READ_AGAIN)
    for _ in range(4):
        assert await served.shows() == pair.der
        await served.call()
        assert upstream.requests[-1].headers["x-auth-token"] == f"token-{CHANGES - 1}"
    await served.drains()


async def test_where_nothing_changed_that_is_told_and_the_gateway_lives(
    start: Start, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    served = await serve(start, upstream, tmp_path)
    for _ in range(3):
        served.hang_up()
        await served.tells(f"SIGHUP: unchanged: token_file, server_tls; {NO_FILE}")
        await served.call()
        assert (await served.next_line())["message"] == "call"
    served.files.put(token=b"other")
    served.hang_up()
    await served.tells(*READ_AGAIN)  # a mount replaces all of its files
    await served.drains()
    assert [record["message"] for record in served.records][-2:] == ["draining", "stopped"]
    assert len([record for record in served.records if record["message"].endswith(": read again")]) == 2


async def test_a_bad_file_is_told_and_the_last_good_one_stays(
    start: Start, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    served = await serve(start, upstream, tmp_path)
    before = await served.shows()
    for change in range(CHANGES):
        served.files.put(token=b"two words", key=b"none", certificate=f"no certificate {change}".encode())
        served.hang_up()
        told = {(await served.next_line())["message"] for _ in range(2)}
        assert {message.partition(": ")[0] for message in told} == {"server_tls", "token_file"}
        assert all(message.endswith("; the last good one stays in use") for message in told)
        summary = (await served.next_line())["message"]
        unusable = "cannot be used, the last good one stays in use: token_file, server_tls"
        assert summary == f"SIGHUP: {unusable}; {NO_FILE}"
    assert [record["level"] for record in served.records[1:]] == ["error", "error", "warning"] * CHANGES
    assert await served.shows() == before
    await served.call()
    assert upstream.requests[-1].headers["x-auth-token"] == "first"
    await served.drains()


@pytest.mark.parametrize("workers", [1, 2])
async def test_secrets_of_the_settings_file_are_used_by_every_process_and_the_rest_waits_for_a_restart(
    start: Start, upstream: ScriptedUpstream, tmp_path: Path, workers: int
) -> None:
    files = Mount(tmp_path / "files", settings=b'token = "first"')
    given = ("--upstream-url", upstream.url, "--listen", f"{HOST}:0", "--workers", str(workers), "--auth", "token")
    variables = with_constants(
        tmp_path / "constants", gateway__files__watch__LOOK_EVERY=AGES, gateway__files__reloading__PATIENCE=AGES
    )
    command = await start("serve", *given, "--config", str(files.path("settings")), **variables)
    served = await Served(command, files, workers).starts()
    files.put(settings=b'token = "second"\nlog_level = "debug"')
    served.hang_up()
    await served.tells(
        "settings_file: in use from now on: token",
        "settings_file: needs a restart: log_level",
        "settings_file: read again",
        "SIGHUP: read again: settings_file; needs a restart: log_level",
    )
    for _ in range(4):
        async with grpc.aio.insecure_channel(served.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            await RepoServiceStub(channel).ListRepos(repos_pb2.ListReposRequest())
        assert upstream.requests[-1].headers["x-auth-token"] == "second"
    served.hang_up()
    await served.tells("SIGHUP: unchanged: settings_file; needs a restart: log_level")
    await served.drains()
