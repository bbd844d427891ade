"""What people see on a terminal of 80 columns: tables, colours, help, completion, the log of `serve`."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from commands import PATIENCE, Run, Start
from conftest import Serve
from gateway import __version__
from gateway.cli.cells import FIELDS
from gateway.cli.render import make_writer
from gateway.cli.terminal import Terminal
from gateway.settings.groups import setting_groups
from gateway.settings.model import SECRETS, Settings
from gateway.settings.names import flag
from gateway.simulator.app import make_app, running
from gateway.simulator.data import default_repositories
from scripted_upstream import ScriptedUpstream, answer
from swr_gateway_client.v1 import repos_pb2
from terminals import Drawn, on_terminal, terminal

YELLOW, RED = "\x1b[33m", "\x1b[31m"
COMMANDS = ("serve", "demo", "simulate", "list", "check-config")


async def listed(start: Start, serve: Serve, *arguments: str, **more: Any) -> Drawn:
    async with running(make_app(default_repositories())) as url:
        target = (await serve(upstream_url=url)).address
        return await on_terminal(start, "list", "--target", target, *arguments, **more)


# Tables


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 200])
async def test_each_repository_is_one_line_however_narrow_the_terminal(
    columns: int, start: Start, serve: Serve
) -> None:
    drawn = await listed(start, serve, "--limit", "256", columns=columns)
    header, *rows, blank, end = drawn.lines
    assert (drawn.code, header[:9], len(rows), blank) == (0, "NAMESPACE", 256, "")
    assert max(map(cell_len, (header, *rows))) <= columns
    assert end == "256 repositories, from offset 0, of 256 in all, 36 public"


async def test_what_is_too_long_ends_in_an_ellipsis_and_is_whole_in_a_pipe(
    start: Start, run: Run, serve: Serve
) -> None:
    drawn = await listed(start, serve, "--limit", "256")
    (cut,) = (line for line in drawn.lines if line.startswith("nsss"))
    assert re.match(r"ns+…  r/seg[/seg]*…  other +4\.0 GiB", cut)
    async with running(make_app(default_repositories())) as url:
        whole = await run("list", "--target", (await serve(upstream_url=url)).address, "--limit", "256")
    assert "…" not in whole.out
    assert {repository.record["name"] for repository in default_repositories()[:256]} <= {*whole.out.split()}


async def test_one_long_name_takes_nothing_of_the_others(start: Start, serve: Serve) -> None:
    drawn = await listed(start, serve, "--limit", "256")
    whole = [line for line in drawn.lines[1:-2] if "…" not in line]
    assert len(whole) > 150


async def test_demo_fits_into_80_columns(start: Start) -> None:
    drawn = await on_terminal(start, "demo")
    assert drawn.code == 0
    assert drawn.width <= 80
    assert re.search(
        r"^root +nginx +linux +191\.7 MiB +2 +2017-09-11 03:00$", drawn.text.replace("\r", ""), re.MULTILINE
    )


@pytest.mark.parametrize("output", ["json", "ndjson", "csv"])
async def test_programs_have_exact_times_on_a_terminal_too(output: str, start: Start, serve: Serve) -> None:
    drawn = await listed(start, serve, "--namespace", "root", "--output", output)
    assert "2017-09-11T03:00:02.542841141Z" in drawn.text


def table(
    *repos: repos_pb2.Repo, width: int = 80, columns: tuple[str, ...] | None = None, colours: bool = False
) -> str:
    return make_writer("table", columns, Terminal(width, colours)).page(repos)


def test_wide_characters_take_two_columns() -> None:
    repos = [repos_pb2.Repo(namespace="仓库" * 20, name="n" * 40, category="linux") for _ in range(3)]
    for width in range(60, 100):
        lines = table(*repos, width=width).splitlines()
        assert {cell_len(line) <= width for line in lines} == {True}, width
        assert all("…" in line for line in lines[1:])


def test_more_columns_than_fit_are_one_line_too() -> None:
    header, row = table(repos_pb2.Repo(name="r" * 100, is_public=True), columns=FIELDS, colours=True).splitlines()
    assert max(cell_len(header), cell_len(row)) <= 80
    assert (header[-1], row[-1]) == ("…", "…")


def test_a_later_page_that_is_wider_is_cut_to_the_terminal() -> None:
    writer = make_writer("table", ("name", "description"), Terminal(40, colours=False))
    writer.page([repos_pb2.Repo(name="short", description="short")])
    (fits,) = writer.page([repos_pb2.Repo(name="longer-than-short", description="fits")]).splitlines()
    (cut,) = writer.page([repos_pb2.Repo(name="n" * 50, description="description")]).splitlines()
    assert fits == "longer-than-short  fits"
    assert re.fullmatch(r"n+…  description|n+…  desc\w*…", cut)


def test_a_number_that_is_wider_on_a_later_page_is_whole_and_texts_give_way_to_it() -> None:
    writer = make_writer("table", ("name", "num_download", "description"), Terminal(48, colours=False))
    first = writer.page([repos_pb2.Repo(name="n" * 8, num_download=7, description="d" * 20) for _ in range(3)])
    (line,) = writer.page([repos_pb2.Repo(name="n" * 8, num_download=2**62, description="d" * 20)]).splitlines()
    assert "…" not in first
    assert str(2**62) in line.split()
    assert line.count("…") == 1
    assert cell_len(line) <= 48


def test_times_that_are_missing_are_empty() -> None:
    header, row = table(repos_pb2.Repo(name="r"), columns=("updated_at", "name")).splitlines()
    assert (header, row.split()) == ("UPDATED (UTC)  NAME", ["r"])


# Colours


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
    ids=str,
)
async def test_public_repositories_are_coloured_unless_told_otherwise(
    variables: dict[str, str], coloured: bool, start: Start, serve: Serve
) -> None:
    drawn = await listed(start, serve, "--namespace", "db", **variables)
    assert (f"{YELLOW}mysql\x1b[0m" in drawn.raw) == coloured
    assert ("\x1b" in drawn.raw) == coloured
    assert "redis__exporter" in drawn.raw
    assert f"{YELLOW}redis" not in drawn.raw
    assert drawn.lines[-1].endswith(", 2 public")


async def test_colours_survive_the_bar(start: Start, serve: Serve) -> None:
    drawn = await listed(start, serve, "--all")
    assert f"{YELLOW}mysql\x1b[0m" in drawn.raw


async def test_a_pipe_has_no_colours(run: Run, serve: Serve) -> None:
    async with running(make_app(default_repositories())) as url:
        ended = await run("list", "--target", (await serve(upstream_url=url)).address, TERM="xterm")
    assert "\x1b" not in ended.out
    assert "public" not in ended.out


@pytest.mark.parametrize("coloured", [True, False])
async def test_a_failure_is_red(coloured: bool, start: Start, serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(answer(403, '[{"errorCode":"SVCSTG.SWR.4039002","errorMessage":"not for you"}]'))
    called = ("list", "--target", (await serve()).address)
    drawn = await on_terminal(start, *called, errors=True, NO_COLOR="" if coloured else "1")
    assert drawn.code == 1
    assert drawn.lines[0] == "PERMISSION_DENIED: not for you"
    assert drawn.raw.startswith(f"{RED}PERMISSION_DENIED\x1b[0m: ") == coloured


@pytest.mark.parametrize("columns", [40, 120])
async def test_a_failure_is_as_wide_as_the_terminal_that_it_goes_to(
    columns: int, start: Start, serve: Serve, upstream: ScriptedUpstream
) -> None:
    told = " ".join(["words"] * 40)
    upstream.play(answer(403, json.dumps([{"errorCode": "SVCSTG.SWR.4039002", "errorMessage": told}])))
    called = ("list", "--target", (await serve()).address)
    drawn = await on_terminal(start, *called, errors=True, columns=columns)
    assert columns - len(" words") <= drawn.width <= columns


async def test_what_check_config_could_not_get_is_red(start: Start, upstream: ScriptedUpstream) -> None:
    upstream.play(answer(403, ""))
    given = ("check-config", "--upstream-url", upstream.url, "--auth", "none", "--call")
    drawn = await on_terminal(start, *given, errors=True)
    assert (drawn.code, f"{RED}PERMISSION_DENIED\x1b[0m: " in drawn.raw) == (1, True)


# The log of `serve`

START = ("serve", "--upstream-url", "http://upstream.invalid", "--auth", "none", "--listen", "127.0.0.1:0")
FIRST = re.compile(r"serving on (127\.0\.0\.1:\d+), upstream http://upstream\.invalid(.*)")


async def first_line(start: Start, *more: str, on_a_terminal: bool = True, **variables: str) -> str:
    """Start a gateway, and return the line of its log that says that it serves."""
    with terminal(80) as (ours, theirs):
        given = {"stderr": theirs} if on_a_terminal else {}
        command = await start(*START, *more, **given, **variables)
        os.close(theirs)
        if not on_a_terminal:
            assert command.process.stderr is not None
            async with asyncio.timeout(PATIENCE):
                return (await command.process.stderr.readline()).decode()
        async with asyncio.timeout(PATIENCE):
            line = await asyncio.to_thread(read_line, ours)
        command.signal(signal.SIGKILL)
        await command.ends()
        return line


def read_line(ours: int) -> str:
    with open(ours, encoding="utf-8", closefd=False) as file:
        return file.readline()


async def test_serve_logs_for_people_on_a_terminal(start: Start) -> None:
    line = await first_line(start)
    assert re.match(r"\d{4}-\d\d-\d\d [\d:,]+ INFO +serving on ", line)
    told = FIRST.search(line)
    assert told
    assert told[2].strip() == f"version={__version__} auth=none dialect=filter tls=off workers=1"


@pytest.mark.parametrize("log_format", ["auto", "json"])
async def test_serve_logs_json_elsewhere_and_where_it_is_told_to(log_format: str, start: Start) -> None:
    line = json.loads(await first_line(start, "--log-format", log_format, on_a_terminal=log_format == "json"))
    assert FIRST.fullmatch(line["message"])
    fields = {"version": __version__, "auth": "none", "dialect": "filter", "tls": "off", "workers": 1}
    assert {name: line[name] for name in fields} == fields


async def test_serve_logs_for_people_elsewhere_where_it_is_told_to(start: Start) -> None:
    assert FIRST.search(await first_line(start, on_a_terminal=False, SWR_GATEWAY_LOG_FORMAT="console"))


async def test_several_workers_tell_the_same(start: Start) -> None:
    line = await first_line(start, "--workers", "2", "--dialect", "query")
    assert f"2 workers version={__version__} auth=none dialect=query tls=off workers=2" in line


# Help


@pytest.mark.parametrize("name", COMMANDS)
async def test_help_is_in_groups_and_fits_into_80_columns(name: str, start: Start) -> None:
    drawn = await on_terminal(start, name, "--help")
    assert drawn.width <= 80
    titles = re.findall(r"^(\S.*):\r?$", drawn.text, re.MULTILINE)
    assert "Options" not in titles or name == "demo"
    if name != "demo":
        assert titles[-1] == "Examples"
        assert len(titles) > 3
        assert re.search(rf"^  swr-gateway {name}\b", drawn.text.partition("Examples:")[2], re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "option", "metavar"),
    [
        ("serve", "--listen", "HOST:PORT,..."),
        ("serve", "--admin-listen", "HOST:PORT"),
        ("serve", "--timeout", "DURATION"),
        ("serve", "--max-response-bytes", "SIZE"),
        ("serve", "--upstream-url", "URL"),
        ("serve", "--tls-cert", "FILE"),
        ("serve", "--circuit-ratio", "RATIO"),
        ("serve", "--retries", "NUMBER"),
        ("serve", "--workers", "NUMBER|auto"),
        ("serve", "--log-format", "auto|json|console"),
        ("list", "--deadline", "DURATION"),
        ("list", "--target", "HOST:PORT"),
        ("simulate", "--latency", "DURATION"),
    ],
)
async def test_help_says_how_a_value_is_written(name: str, option: str, metavar: str, run: Run) -> None:
    assert re.search(rf"^  {option} {re.escape(metavar)}\s", (await run(name, "--help")).out, re.MULTILINE)


async def test_help_says_how_many_a_page_may_have(run: Run) -> None:
    told = " ".join((await run("list", "--help")).out.split())
    assert "--limit NUMBER Most repositories to list. [default: 100] [1<=x<=1000]" in told


async def test_help_has_every_setting_in_its_group(run: Run) -> None:
    told = (await run("serve", "--help")).out
    for title, names in setting_groups().items():
        section = told.partition(f"\n{title}:\n")[2].partition("\n\n")[0]
        assert set(re.findall(r"^  (--[\w-]+)", section, re.MULTILINE)) == {
            flag(name) for name in names if name not in SECRETS
        }


def test_every_setting_has_a_group() -> None:
    groups = setting_groups()
    assert [name for names in groups.values() for name in names] == [*Settings.model_fields]
    assert all(groups)


@pytest.mark.parametrize(
    ("typed", "meant"), [("lst", "list"), ("srve", "serve"), ("check-confg", "check-config"), ("simulat", "simulate")]
)
async def test_a_mistyped_command_has_a_suggestion(typed: str, meant: str, run: Run) -> None:
    ended = await run(typed)
    assert ended.code == 2
    assert f"No such command '{typed}'. Did you mean '{meant}'?" in ended.err


@pytest.mark.parametrize(
    ("command", "typed", "meant"), [("list", "--namspace", "--namespace"), ("demo", "--kep", "--keep")]
)
async def test_a_mistyped_option_has_a_suggestion(command: str, typed: str, meant: str, run: Run) -> None:
    ended = await run(command, typed, "x")
    assert ended.code == 2
    assert f"'{meant}'" in ended.err


async def completed(line: str) -> str:
    """Return what a shell is told of a line, whose last word is begun."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    environment = {"PATH": os.defpath, "_SWR_GATEWAY_COMPLETE": "bash_complete", **words}
    command = [Path(sys.executable).with_name("swr-gateway")]
    done = await asyncio.to_thread(subprocess.run, command, env=environment, stdout=subprocess.PIPE, check=False)
    return str(done.stdout.decode())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("swr-gateway ", {*COMMANDS}),
        ("swr-gateway s", {"serve", "simulate"}),
        ("swr-gateway --v", {"--version"}),
        ("swr-gateway list --na", {"--namespace", "--name"}),
        ("swr-gateway list --output nd", {"ndjson"}),
        ("swr-gateway serve --tls-c", {"--tls-cert", "--tls-client-ca"}),
        ("swr-gateway serve --auth ak", {"aksk"}),
        ("swr-gateway serve --workers a", {"auto"}),
    ],
)
async def test_a_shell_completes(line: str, expected: set[str]) -> None:
    assert {item.partition(",")[2] for item in (await completed(line)).splitlines()} == expected


async def test_a_shell_completes_names_of_files() -> None:
    assert await completed("swr-gateway serve --tls-cert ce") == "file,ce\n"


# Totals


async def test_the_simulator_counts_as_demo_does_and_tells_of_the_rest(start: Start) -> None:
    simulator = await start("simulate", "--listen", "127.0.0.1:0")
    assert await simulator.prints(r"^(\d+) repositories on ") == "256"
    assert await simulator.prints(r"^(\d+) more are a partner's, which `swr-gateway list --center thirdparty`") == "25"
