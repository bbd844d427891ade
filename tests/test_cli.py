from __future__ import annotations

import asyncio
import csv
import fcntl
import io
import json
import os
import re
import signal
import socket
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from commands import PATIENCE, Command, Ended, Run, Start, starter, waiting_bytes, without_name_server
from gateway import __version__
from gateway.cli.cells import human_size
from gateway.cli.render import make_writer
from patience import until
from ports import held_port
from scripted_upstream import Act, answer, page, scripted_upstream
from swr_gateway_client.v1 import repos_pb2

CANARY = "canary-4711"
COMMANDS = ("serve", "demo", "simulate", "list", "check-config")
NOWHERE = "http://upstream.invalid"
EXAMPLE_UPDATED = "2017-09-11T03:00:02.542841141Z"


def as_table(page: repos_pb2.ListReposResponse) -> str:
    writer = make_writer("table", None, None)
    return writer.page(page.repos) + writer.end(page.content_range if page.HasField("content_range") else None)


async def simulate(start: Start, *arguments: str) -> str:
    """Start an upstream and return its URL."""
    command = await start("simulate", "--listen", "127.0.0.1:0", *arguments)
    return await command.prints(r"repositories on (http://\S+)$")


async def serve(start: Start, upstream_url: str, *arguments: str, **variables: str) -> tuple[Command, str]:
    """Start a gateway and return it and its address."""
    given = ("--upstream-url", upstream_url, "--auth", "none", "--listen", "127.0.0.1:0", *arguments)
    command = await start("serve", *given, **variables)
    return command, await command.logs(r"serving on ([^\s,]+)")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target() -> AsyncIterator[str]:
    """A gateway in front of the embedded upstream, both as processes, for all tests that only list."""
    async with starter() as start:
        _, address = await serve(start, await simulate(start))
        yield address


async def test_help_names_all_commands(run: Run) -> None:
    ended = await run("--help")
    assert ended.code == 0
    for name in COMMANDS:
        assert re.search(rf"^  {name}  +\S", ended.out, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
async def test_every_command_has_help(name: str, run: Run) -> None:
    ended = await run(name, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert f" {name} [OPTIONS]" in ended.out


@pytest.mark.parametrize("argument", ["--help", "--version"])
async def test_what_needs_no_library_waits_for_none(argument: str, run: Run) -> None:
    ended = await run(argument, options=("-X", "importtime"))
    imported = set(re.findall(r"\|\s*([\w.]+)$", ended.err, re.MULTILINE))
    assert {"click", "gateway.cli.main"} <= imported
    assert imported.isdisjoint({"grpc", "aiohttp", "rich", "pydantic", "google.protobuf", "msgspec"})


async def test_version_is_that_of_the_package(run: Run) -> None:
    assert await run("--version") == Ended(0, f"swr-gateway, version {__version__}\n", "")


async def test_an_unknown_command_is_refused(run: Run) -> None:
    ended = await run("lst")
    assert ended.code == 2
    assert "lst" in ended.err


async def test_demo_prints_a_table_that_came_through_grpc(run: Run) -> None:
    ended = await run("demo")
    assert (ended.code, ended.err) == (0, "")
    assert re.search(r"^NAMESPACE +NAME +CATEGORY +SIZE +IMAGES +UPDATED$", ended.out, re.MULTILINE)
    assert re.search(rf"^root +nginx +linux +191\.7 MiB +2 +{EXAMPLE_UPDATED}$", ended.out, re.MULTILINE)
    assert re.search(r"^12 repositories, from offset 0, of \d+ in all$", ended.out, re.MULTILINE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_demo_stays_up_for_the_call_it_proposes_until_a_signal(
    number: signal.Signals, start: Start, run: Run
) -> None:
    demo = await start("demo", "--keep")
    proposed = await demo.prints(r"swr-gateway (list .+)$")
    listed = await run(*proposed.split())
    assert listed.code == 0
    assert EXAMPLE_UPDATED in listed.out
    demo.signal(number)
    assert (await demo.ends()).code == 0


@pytest.mark.parametrize("module", ["click", "grpc"])
async def test_who_interrupts_an_import_is_told_nothing(module: str, tmp_path: Path, run: Run) -> None:
    (tmp_path / f"{module}.py").write_text("raise KeyboardInterrupt")
    ended = await run("list", PYTHONPATH=str(tmp_path))
    assert (ended.code, ended.err) == (130, "")


async def test_who_interrupts_demo_is_told_nothing(start: Start) -> None:
    reading, writing = os.pipe()
    # There is room for its first line, and not for the table: it cannot have ended before the signal comes.
    room = 200
    taken = os.write(writing, bytes(fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ) - room))
    demo = await start("demo", stdout=writing)
    os.close(writing)
    await until(lambda: waiting_bytes(reading) > taken)
    demo.signal(signal.SIGINT)

    def drain() -> None:
        while os.read(reading, 65_536):
            pass

    await asyncio.to_thread(drain)
    os.close(reading)
    ended = await demo.ends()
    assert (ended.code, ended.err) == (130, "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SWR_GATEWAY_TIMEOUT", "soon"),
        ("SWR_GATEWAY_DIALECT", "klingon"),
        ("SWR_GATEWAY_TOKEN", CANARY),
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("PROMETHEUS_MULTIPROC_DIR", "/no/such/folder"),
        ("https_proxy", "http://127.0.0.1:1"),
        ("http_proxy", "http://127.0.0.1:1"),
    ],
)
async def test_demo_is_not_upset_by_settings_of_the_environment(name: str, value: str, run: Run) -> None:
    ended = await run("demo", **{name: value})
    assert (ended.code, ended.err) == (0, "")


async def test_list_prints_a_table(target: str, run: Run) -> None:
    ended = await run("list", "--target", target, "--namespace", "root", "--offset", "0", "--limit", "10")
    assert (ended.code, ended.err) == (0, "")
    header, row, blank, position = ended.out.splitlines()
    assert header.split() == ["NAMESPACE", "NAME", "CATEGORY", "SIZE", "IMAGES", "UPDATED"]
    assert row.split() == ["root", "nginx", "linux", "191.7", "MiB", "2", EXAMPLE_UPDATED]
    assert blank == ""
    assert position == "1 repository, from offset 0, of 1 in all"


EXAMPLE_JSON = {
    "name": "nginx",
    "category": "linux",
    "description": "",
    "size": 200977474,
    "isPublic": False,
    "numImages": 2,
    "numDownload": 0,
    "createdAt": "2017-01-01T00:00:00Z",
    "updatedAt": EXAMPLE_UPDATED,
    "url": "",
    "path": "swr.cn-north-1.myhuaweicloud.com/namespace/repository",
    "internalPath": "10.125.0.198:20202/namespace/repository",
    "domainName": "root",
    "namespace": "root",
    "tags": ["latest", "log"],
    "status": False,
    "logo": "",
}


async def list_example(run: Run, target: str, output: str) -> str:
    page_of_ten = ("--namespace", "root", "--offset", "0", "--limit", "10")
    ended = await run("list", "--target", target, *page_of_ten, "--output", output)
    assert (ended.code, ended.err) == (0, "")
    return ended.out


async def test_list_prints_json(target: str, run: Run) -> None:
    assert json.loads(await list_example(run, target, "json")) == {
        "repos": [EXAMPLE_JSON],
        "contentRange": {"offset": 0, "count": 1, "total": 1},
    }


async def test_list_prints_json_lines(target: str, run: Run) -> None:
    (line,) = (await list_example(run, target, "ndjson")).splitlines()
    assert json.loads(line) == EXAMPLE_JSON


async def test_list_prints_csv(target: str, run: Run) -> None:
    (row,) = csv.DictReader(io.StringIO(await list_example(run, target, "csv")))
    assert [*row] == [field.name for field in repos_pb2.Repo.DESCRIPTOR.fields]
    assert row["name"] == "nginx"
    assert row["size"] == "200977474"
    assert row["is_public"] == "false"
    assert row["updated_at"] == EXAMPLE_UPDATED
    assert row["tags"] == "latest log"


async def test_list_prints_as_many_as_asked_for(target: str, run: Run) -> None:
    ended = await run("list", "--target", target, "--offset", "20", "--limit", "7", "--output", "ndjson")
    names = [json.loads(line)["name"] for line in ended.out.splitlines()]
    assert len(set(names)) == 7


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("table", "NAMESPACE  NAME  CATEGORY  SIZE  IMAGES  UPDATED\n\n0 repositories, from offset 0, of 0 in all\n"),
        ("ndjson", ""),
        ("csv", ",".join(field.name for field in repos_pb2.Repo.DESCRIPTOR.fields) + "\n"),
    ],
    ids=["table", "ndjson", "csv"],
)
async def test_list_of_nothing_has_no_lines_for_repositories(output: str, expected: str, target: str, run: Run) -> None:
    nothing = ("--name", "no-such", "--offset", "0", "--limit", "5")
    assert await run("list", "--target", target, *nothing, "--output", output) == Ended(0, expected, "")


@pytest.mark.parametrize(
    ("option", "value", "field", "found"),
    [
        ("--center", "self", "domainName", {"root", "acme-cloud"}),
        ("--center", "thirdparty", "domainName", {"partner-corp"}),
        ("--namespace", "db", "namespace", {"db"}),
        ("--name", "ybox-d", "name", {"busybox-debug"}),
        ("--category", "windows", "category", {"windows"}),
    ],
)
async def test_list_passes_every_filter_on(
    option: str, value: str, field: str, found: set[str], target: str, run: Run
) -> None:
    ended = await run("list", "--target", target, option, value, "--offset=0", "--limit=20", "--output", "ndjson")
    assert {json.loads(line)[field] for line in ended.out.splitlines()} == found


async def test_list_shows_every_violation_of_a_refused_call(target: str, run: Run) -> None:
    ended = await run("list", "--target", target, "--namespace", "a|b", "--name", "'c'", "--category", " d")
    assert (ended.code, ended.out) == (1, "")
    lines = ended.err.splitlines()
    assert lines[0].startswith("INVALID_ARGUMENT: ")
    assert lines[1] == "  hint: see --namespace, --name, --category"
    assert "  reason: INVALID_REQUEST" in lines
    for field in ("filter.namespace", "filter.name", "filter.category"):
        assert any(line.startswith(f"  {field}: must ") for line in lines)
    assert re.fullmatch(r"  request id: \w+", lines[-1])


async def test_list_shows_what_the_upstream_says(start: Start, run: Run) -> None:
    _, target = await serve(start, await simulate(start, "--error-status", "429"))
    ended = await run("list", "--target", target)
    assert (ended.code, ended.out) == (1, "")
    status, hint, reason, retry, request_id = ended.err.splitlines()
    assert status == "RESOURCE_EXHAUSTED: simulated error"
    assert hint == "  hint: too much is asked for at the moment: try again later"
    assert reason.startswith("  reason: UPSTREAM_RATE_LIMITED (")
    assert "httpStatus 429" in reason
    assert "upstreamCode SVCSTG.SWR.4290001" in reason
    assert retry == "  try again after: 1 s"
    assert re.fullmatch(r"  request id: \w+, upstream's sim-\d{8}", request_id)


async def test_list_does_not_wait_for_an_upstream_that_wants_to_be_left_alone(start: Start, run: Run) -> None:
    async with scripted_upstream() as upstream:
        upstream.play(answer(503, headers={"Retry-After": "3600"}))
        _, target = await serve(start, upstream.url)
        ended = await run("list", "--target", target)
    assert ended.code == 1
    assert ended.err.startswith("UNAVAILABLE: ")
    assert "  try again after: 3600 s" in ended.err.splitlines()


async def test_list_says_that_nobody_listens(run: Run) -> None:
    with held_port() as port:
        ended = await run("list", "--target", f"127.0.0.1:{port}")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("UNAVAILABLE: ")
    assert f"127.0.0.1:{port}" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("--offset", "0", "--limit", "99999999999"), id="number of more than 32 bits"),
        pytest.param(("--offset", "0", "--limit", "ten"), id="no number"),
        pytest.param(("--token", "tökén"), id="token not ASCII"),
        pytest.param(("--token", "line\nbreak"), id="token with a line break"),
        pytest.param(("--center", "theirs"), id="unknown center"),
    ],
)
async def test_list_explains_a_bad_argument(arguments: tuple[str, ...], target: str, run: Run) -> None:
    ended = await run("list", "--target", target, *arguments)
    assert ended.code in (1, 2)
    assert "Traceback" not in ended.err
    assert arguments[-2].removeprefix("--") in ended.err


async def test_list_prints_a_page_of_several_mib(tmp_path: Path, start: Start, run: Run) -> None:
    data = tmp_path / "records.json"
    data.write_text(json.dumps([{"name": f"r{n}", "description": "long " * 1000} for n in range(1000)]), "utf-8")
    _, target = await serve(start, await simulate(start, "--data", str(data)))
    ended = await run("list", "--target", target, "--offset", "0", "--limit", "1000", "--output", "ndjson")
    assert (ended.code, ended.err) == (0, "")
    assert len(ended.out.splitlines()) == 1000


@pytest.mark.parametrize(
    ("token", "auth", "callers", "own"),
    [
        pytest.param(CANARY, "passthrough", {"SWR_GATEWAY_TARGET_TOKEN": CANARY}, {}, id="caller's"),
        pytest.param(
            CANARY * 1800, "passthrough", {"SWR_GATEWAY_TARGET_TOKEN": CANARY * 1800}, {}, id="caller's long one"
        ),
        pytest.param(CANARY, "token", {}, {"SWR_GATEWAY_TOKEN": CANARY}, id="own"),
        pytest.param(CANARY, "token", {}, {"SWR_GATEWAY_TOKEN_FILE": "{folder}/token"}, id="own from a file"),
    ],
)
async def test_a_token_reaches_the_upstream_and_no_output(
    token: str, auth: str, callers: dict[str, str], own: dict[str, str], tmp_path: Path, start: Start, run: Run
) -> None:
    (tmp_path / "token").write_text(token, "ascii")
    variables = {name: value.format(folder=tmp_path) for name, value in own.items()}
    upstream_url = await simulate(start, "--token", token)
    gateway, target = await serve(start, upstream_url, "--auth", auth, "--log-level", "debug", **variables)
    listed = await run("list", "--target", target, **callers)
    gateway.signal(signal.SIGTERM)
    ended = await gateway.ends()
    assert listed.code == 0, listed.err
    assert CANARY not in f"{listed} {ended}"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param((), "CREDENTIAL_MISSING", id="none"),
        pytest.param(("--token", "wrong"), "UPSTREAM_CREDENTIAL_REJECTED", id="wrong"),
    ],
)
async def test_list_without_the_right_token_is_unauthenticated(
    arguments: tuple[str, ...], reason: str, start: Start, run: Run
) -> None:
    _, target = await serve(start, await simulate(start, "--token", "right"), "--auth", "passthrough")
    ended = await run("list", "--target", target, *arguments)
    assert ended.code == 1
    assert ended.err.startswith("UNAUTHENTICATED: ")
    assert f"  reason: {reason}" in ended.err


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (200977474, "191.7 MiB"),
        (1024**3, "1.0 GiB"),
        (1024**4, "1.0 TiB"),
        (1024**5, "1.0 PiB"),
        (2**63 - 1, "8192.0 PiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_sizes_are_written_for_people(size: int, text: str) -> None:
    assert human_size(size) == text


def test_a_table_leaves_out_what_is_not_there() -> None:
    bare = repos_pb2.ListReposResponse(repos=[repos_pb2.Repo(name="bare")])
    _, row, _, position = as_table(bare).splitlines()
    assert row.split() == ["bare", "0", "B", "0"]
    assert position == "1 repository"


def test_a_table_shows_names_as_they_are() -> None:
    name = "[bold]:smile:[/bold]" + "long/" * 10
    table = as_table(repos_pb2.ListReposResponse(repos=[repos_pb2.Repo(name=name)]))
    assert name in table


@pytest.mark.parametrize("text", ["\x1b]0;title\x07", "\x1b[2J", "\x9b2J", "a\rb"])
def test_a_table_gives_no_orders_to_the_terminal(text: str) -> None:
    repo = repos_pb2.Repo(namespace=text, name=text, category=text)
    table = as_table(repos_pb2.ListReposResponse(repos=[repo]))
    assert all(line.isprintable() for line in table.split("\n"))


async def test_serve_answers_where_it_says_on_every_address(tmp_path: Path, start: Start, run: Run) -> None:
    addresses = f"127.0.0.1:0,localhost:0,unix:{tmp_path}/s"
    command = await start("serve", "--upstream-url", await simulate(start), "--auth", "none", "--listen", addresses)
    listening = (await command.logs(r"serving on (.+), upstream")).split(", ")
    assert [re.sub(r"\d+$", "0", address) for address in listening] == addresses.split(",")
    for address in listening:
        assert (await run("list", "--target", address)).code == 0


@pytest.mark.parametrize("dialect", ["filter", "filter-quoted", "query"])
async def test_serve_speaks_every_dialect_to_the_embedded_upstream(dialect: str, start: Start, run: Run) -> None:
    _, target = await serve(start, await simulate(start), SWR_GATEWAY_DIALECT=dialect)
    ended = await run("list", "--target", target, "--center", "thirdparty", "--name", "sdk/", "--output", "ndjson")
    assert [json.loads(line)["name"] for line in ended.out.splitlines()] == ["sdk/runtime"]


@pytest.mark.parametrize("command", ["serve", "check-config"])
async def test_bad_settings_are_told_all_at_once(command: str, tmp_path: Path, run: Run) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text("max_in_flight = 0\n", "utf-8")
    ended = await run(
        command, "--listen", "nowhere", "--config", str(config), SWR_GATEWAY_AUTH="magic", SWR_GATEWAY_TIMOUT="1s"
    )
    assert (ended.code, ended.out) == (2, "")
    assert sorted(re.findall(r"^error: (.+?)[: ]", ended.err, re.MULTILINE)) == [
        "--listen",
        "--upstream-url",
        "SWR_GATEWAY_AUTH",
        "SWR_GATEWAY_TIMOUT",
        "max_in_flight",
    ]
    assert len(ended.err.splitlines()) == 5


async def test_check_config_masks_the_token(run: Run) -> None:
    ended = await run("check-config", "--region", "cn-north-4", "--auth", "token", SWR_GATEWAY_TOKEN=CANARY)
    assert (ended.code, ended.err) == (0, "")
    assert 'auth = "token"' in ended.out.splitlines()
    assert '# token = "**********"' in ended.out.splitlines()
    assert CANARY not in ended.out


async def test_check_config_prints_toml_whatever_a_path_is_made_of(tmp_path: Path, run: Run) -> None:
    path = tmp_path / os.fsdecode(b"t\xff")
    path.write_text("token", "ascii")
    given = ("--region", "cn-north-4", "--auth", "token", "--token-file", str(path))
    ended = await run("check-config", *given)
    assert (ended.code, ended.err) == (0, "")
    assert tomllib.loads(ended.out)["region"] == "cn-north-4"
    assert f'\n# TOML cannot hold it: token_file = "{tmp_path}/t\\U0000dcff"\n' in ended.out


async def test_check_config_reads_the_file_that_the_environment_names(tmp_path: Path, run: Run) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text('region = "cn-north-4"\ndrain_delay = "7s"\n', "utf-8")
    ended = await run("check-config", SWR_GATEWAY_CONFIG=str(config))
    assert ended.code == 0
    assert 'drain_delay = "7s"' in ended.out.splitlines()


@pytest.fixture
def occupied_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def test_serve_leaves_when_its_port_is_occupied(occupied_port: int, run: Run) -> None:
    address = f"127.0.0.1:{occupied_port}"
    ended = await run("serve", "--upstream-url", NOWHERE, "--auth", "none", "--listen", address)
    assert ended.code == 1
    assert f"error: --listen: cannot listen on {address}: " in ended.err
    assert "Traceback" not in ended.err


async def test_serve_does_not_share_the_port_of_another_gateway(target: str, run: Run) -> None:
    ended = await run("serve", "--upstream-url", NOWHERE, "--auth", "none", "--listen", target)
    assert ended.code == 1
    assert f"error: --listen: cannot listen on {target}: " in ended.err


async def test_simulate_leaves_when_its_port_is_occupied(occupied_port: int, run: Run) -> None:
    address = f"127.0.0.1:{occupied_port}"
    ended = await run("simulate", "--listen", address)
    assert ended.code == 1
    assert ended.err == f"error: --listen: cannot listen on {address}: Address already in use\n"


async def test_serve_leaves_when_another_listens_on_its_unix_socket(tmp_path: Path, start: Start) -> None:
    address = f"unix:{tmp_path}/s"
    _, first = await serve(start, NOWHERE, "--listen", address)
    assert first == address
    second = await start("serve", "--upstream-url", NOWHERE, "--auth", "none", "--listen", address)
    assert second.process.stderr is not None
    async with asyncio.timeout(PATIENCE):
        outcome = (await second.process.stderr.readline()).decode()
    assert "serving on" not in outcome
    ended = await second.ends()
    assert ended.code == 1
    assert f"error: --listen: cannot listen on {address}: " in outcome + ended.err


# Signals

FOREVER = ("--timeout", "1h", "--attempt-timeout", "1h", "--drain-grace", "1h")
signals = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


async def refuses_connections(address: str) -> None:
    """Wait until nobody listens on an address any more."""
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except ConnectionError:
                return
            writer.close()


@signals
async def test_a_signal_lets_the_call_in_flight_finish_and_serve_exits_with_0(
    number: signal.Signals, start: Start, run: Run
) -> None:
    answer = asyncio.Event()
    async with scripted_upstream() as upstream:
        upstream.play((answer, page('[{"name": "late"}]')))
        gateway, target = await serve(start, upstream.url, *FOREVER)
        call = await start("list", "--target", target, "--output", "ndjson")
        async with asyncio.timeout(PATIENCE):
            await upstream.all_arrived(1)
        gateway.signal(number)
        await refuses_connections(target)
        assert (await run("list", "--target", target)).code == 1
        answer.set()
        listed = await call.ends()
        assert listed.code == 0, listed.err
        assert json.loads(listed.out)["name"] == "late"
        assert (await gateway.ends()).code == 0


@signals
async def test_a_second_signal_ends_serve_at_once_although_a_call_is_in_flight(
    number: signal.Signals, start: Start
) -> None:
    async with scripted_upstream() as upstream:
        upstream.play((Act.STALL,))
        gateway, target = await serve(start, upstream.url, *FOREVER)
        call = await start("list", "--target", target)
        async with asyncio.timeout(PATIENCE):
            await upstream.all_arrived(1)
        gateway.signal(number)
        await gateway.logs("^draining$")
        gateway.signal(number)
        ended, listed = await gateway.ends(), await call.ends()
        assert ended.code > 0
        assert "Traceback" not in ended.err
        assert listed.code == 1
        assert re.search("^UNAVAILABLE: ", listed.err, re.MULTILINE)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_two_signals_that_come_together_end_serve_at_once(workers: str, start: Start) -> None:
    async with scripted_upstream() as upstream:
        upstream.play((Act.STALL,))
        gateway, target = await serve(start, upstream.url, *FOREVER, "--workers", workers)
        call = await start("list", "--target", target)
        async with asyncio.timeout(PATIENCE):
            await upstream.all_arrived(1)
        for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
            gateway.signal(number)
        ended, listed = await gateway.ends(), await call.ends()
        assert ended.code > 0
        assert "Traceback" not in ended.err
        assert re.search("^UNAVAILABLE: ", listed.err, re.MULTILINE)


@signals
async def test_serve_without_calls_exits_with_0_at_a_signal(number: signal.Signals, start: Start) -> None:
    gateway, _ = await serve(start, NOWHERE, *FOREVER)
    gateway.signal(number)
    ended = await gateway.ends()
    assert ended.code == 0
    assert [json.loads(line)["message"] for line in ended.err.splitlines()] == ["draining", "stopped"]


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_serve_exits_at_a_signal_although_no_name_server_answers(
    workers: str, start: Start, tmp_path: Path
) -> None:
    arguments = ("--drain-grace", "0s", "--workers", workers)
    gateway, target = await serve(start, NOWHERE, *arguments, **without_name_server(tmp_path / "site"))
    listing = await start("list", "--target", target)
    await gateway.prints("looks it up")
    gateway.signal(signal.SIGTERM)
    ended = await gateway.ends()
    assert (ended.code, "killed" in ended.err) == (0, False)
    assert "GATEWAY_DRAINING" in (await listing.ends()).err


async def test_calls_are_served_while_the_drain_delay_lasts_and_a_second_signal_ends_it(start: Start, run: Run) -> None:
    gateway, target = await serve(start, await simulate(start), "--drain-delay", "1h")
    gateway.signal(signal.SIGTERM)
    await gateway.logs("^draining$")
    assert (await run("list", "--target", target)).code == 0
    gateway.signal(signal.SIGTERM)
    assert (await gateway.ends()).code > 0


@signals
async def test_simulate_exits_with_0_at_a_signal_although_an_answer_is_held_back(
    number: signal.Signals, start: Start
) -> None:
    command = await start("simulate", "--listen", "127.0.0.1:0", "--latency", "1h")
    port = await command.prints(r"repositories on http://127\.0\.0\.1:(\d+)$")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    try:
        # The interim answer tells that the request has arrived.
        writer.write(b"GET /v2/manage/repos HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readline()).startswith(b"HTTP/1.1 100 ")
        command.signal(number)
        assert (await command.ends()).code == 0
    finally:
        writer.close()


async def test_simulate_serves_records_of_ones_own(tmp_path: Path, start: Start, run: Run) -> None:
    data = tmp_path / "records.json"
    data.write_text('[{"name": "mine", "namespace": "own", "updated_at": "2024-02-29T00:00:00.000000001Z"}]', "utf-8")
    _, own_target = await serve(start, await simulate(start, "--data", str(data)))
    ended = await run("list", "--target", own_target, "--output", "csv")
    (row,) = csv.DictReader(io.StringIO(ended.out))
    assert (row["namespace"], row["name"]) == ("own", "mine")
    assert row["updated_at"] == "2024-02-29T00:00:00.000000001Z"


async def test_simulate_names_the_command_that_goes_in_front_of_it(start: Start) -> None:
    command = await start("simulate", "--listen", "127.0.0.1:0", "--repos", "3")
    url = await command.prints(r"^3 repositories on (http://127\.0\.0\.1:\d+)$")
    assert await command.prints(r"swr-gateway (.+)$") == f"serve --upstream-url {url} --auth none"


@pytest.mark.parametrize(
    ("arguments", "status", "body"),
    [
        pytest.param(("--repos", "0"), 200, r"\[\]", id="no repositories"),
        pytest.param(("--latency", "1ms"), 200, r"\[\{.*", id="latency"),
        pytest.param(("--no-content-range",), 200, r"\[\{.*", id="no content range"),
        pytest.param(("--token", "right"), 401, r".*APIGW\.0301.*", id="token"),
        pytest.param(("--error-status", "503"), 503, r"\[\{.*", id="error"),
        pytest.param(("--error-status", "503", "--error-shape", "list"), 503, r"\[\{.*", id="shape list"),
        pytest.param(("--error-status", "503", "--error-shape", "registry"), 503, r".*DENIED.*", id="shape registry"),
        pytest.param(("--malformed", "object"), 200, r"\{.*", id="malformed object"),
        pytest.param(("--malformed", "wrong-type"), 200, r".*large.*", id="malformed wrong type"),
        pytest.param(("--page-cap", "1"), 200, r"\[\{[^{]*\}\]", id="page cap"),
        pytest.param(("--hide-every", "1"), 200, r"\[\]", id="hidden records"),
        pytest.param(("--multiples-only",), 400, r".*multiple of limit.*", id="multiples only"),
    ],
)
async def test_simulate_has_a_switch_for_every_fault(
    arguments: tuple[str, ...], status: int, body: str, start: Start
) -> None:
    url = await simulate(start, *arguments)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/v2/manage/repos", params={"offset": "1", "limit": "2"}) as response,
    ):
        assert response.status == status
        assert re.fullmatch(body, await response.text(), re.DOTALL)
        ranged = status == 200 and "--no-content-range" not in arguments
        assert ("Content-Range" in response.headers) == ranged


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--listen", "127.0.0.1"),
        ("--listen", "127.0.0.1:99999"),
        ("--listen", "127.0.0.1:http"),
        ("--listen", "no-such-host.invalid:0"),
        ("--listen", "two..dots:0"),
        ("--latency", "5"),
        ("--latency", "-1s"),
        ("--repos", "-1"),
        ("--error-status", "99"),
        ("--error-shape", "round"),
        ("--malformed", "slightly"),
        ("--page-cap", "0"),
        ("--hide-every", "0"),
        ("--data", "no-such-file.json"),
    ],
)
async def test_simulate_names_the_option_that_it_cannot_use(option: str, value: str, run: Run) -> None:
    ended = await run("simulate", "--listen", "127.0.0.1:0", option, value)
    assert ended.code in (1, 2)
    assert option in ended.err
    assert "Traceback" not in ended.err


async def test_simulate_says_in_the_words_of_the_system_why_it_cannot_read_a_data_file(
    tmp_path: Path, run: Run
) -> None:
    ended = await run("simulate", "--data", f"{tmp_path}/none")
    assert ended.err.endswith(f"--data: cannot use {tmp_path}/none: No such file or directory\n")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param('[{"namespace": "own"}]', "every record needs a name", id="no name"),
        pytest.param('[{"name": ' + "[" * 100_000, "it is nested too deep", id="too deep"),
        pytest.param('[{"name": ', "Input data was truncated", id="truncated"),
    ],
)
async def test_simulate_explains_what_is_wrong_with_a_data_file(
    content: str, problem: str, tmp_path: Path, run: Run
) -> None:
    data = tmp_path / "records.json"
    data.write_text(content, "utf-8")
    ended = await run("simulate", "--listen", "127.0.0.1:0", "--data", str(data))
    assert ended.code == 2
    assert f"--data: cannot use {data}: {problem}" in ended.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--access-key", "a"), "--access-key: must be given together with --secret-key"),
        (("--password", "a"), "--password: must be given together with --username"),
        (("--token-life", "1h"), "--token-life: must be given together with --username"),
        (("--token-dies", "1h", "--token", "a"), "--token-dies: must be given together with --username"),
        (
            ("--token-rejection", "swr"),
            "--token-rejection: must be given together with --token or --access-key or --username",
        ),
        (("--data", "records.json", "--repos", "5"), "--repos: does nothing where --data is given"),
        (("--error-status", "503", "--malformed", "html"), "--malformed: does nothing where --error-status is given"),
    ],
)
async def test_simulate_refuses_options_that_would_do_nothing(arguments: tuple[str, ...], told: str, run: Run) -> None:
    # Where it is let through, it leaves because of the address, with 1.
    ended = await run("simulate", "--listen", "no-such-host.invalid:0", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert f"Error: Invalid value for {told}\n" in ended.err


# Notes, and flags that are none

PROXY = {"HTTPS_PROXY": f"http://user:{CANARY}@proxy:3128", "http_proxy": "http://proxy:3128", "ALL_PROXY": ""}
NOT_USED = (
    "HTTPS_PROXY, http_proxy: not used: the gateway connects to the upstream and to IAM directly, without a proxy"
)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_serve_says_once_that_proxies_are_not_used(workers: str, start: Start) -> None:
    given = ("--upstream-url", NOWHERE, "--auth", "none", "--listen", "127.0.0.1:0", "--workers", workers)
    gateway = await start("serve", *given, **PROXY)
    assert await gateway.logs(r"^\w+_PROXY\b.*") == NOT_USED
    await gateway.logs("^serving on ")
    gateway.signal(signal.SIGTERM)
    assert "PROXY" not in (await gateway.ends()).err


async def test_check_config_notes_that_proxies_are_not_used(run: Run) -> None:
    without = await run("check-config", "--upstream-url", NOWHERE, "--auth", "none")
    ended = await run("check-config", "--upstream-url", NOWHERE, "--auth", "none", **PROXY)
    assert (without.code, without.err) == (0, "")
    assert (ended.code, ended.out, ended.err) == (0, without.out, f"note: {NOT_USED}\n")


@pytest.mark.parametrize("command", ["serve", "check-config"])
@pytest.mark.parametrize("name", ["token", "access_key", "secret_key", "security_token", "iam_password"])
async def test_who_looks_for_the_flag_of_a_secret_is_told_where_it_goes(name: str, command: str, run: Run) -> None:
    flag = "--" + name.replace("_", "-")
    for arguments in ((flag, CANARY), (f"{flag}={CANARY}",)):
        ended = await run(command, *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert f"Error: {flag}: a secret has no flag, " in ended.err
        assert f"SWR_GATEWAY_{name.upper()}, or `{name}` in the file of --config" in ended.err
        assert CANARY not in ended.err


@pytest.mark.parametrize("command", ["serve", "check-config"])
async def test_a_misspelt_flag_is_refused_with_a_suggestion(command: str, run: Run) -> None:
    ended = await run(command, "--timeuot", "1s")
    assert ended.code == 2
    assert "No such option '--timeuot'." in ended.err
    assert "'--timeout'" in ended.err
