"""`swr-gateway list` as people and programs use it: on a terminal, in a pipe, through failures."""

from __future__ import annotations

import asyncio
import csv
import fcntl
import io
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RequestInfo

from commands import PATIENCE, Command, Run, Start, waiting_bytes
from conftest import Serve
from gateway.cli.cells import FIELDS
from scripted_gateway import Break, scripted_gateway
from scripted_upstream import Act, Request, ScriptedUpstream, answer, page
from swr_gateway_client.v1 import repos_pb2
from terminals import on_terminal

UPDATED = "2017-09-11T03:00:02.542841141Z"


class Listing:
    """An upstream with so many repositories, that does as told from some offset on."""

    def __init__(self, count: int, *, broken_from: int | None = None, cap: int = 1000) -> None:
        self.count = count
        self.cap = cap
        self.broken_from = count if broken_from is None else broken_from

    def __call__(self, request: Request) -> bytes:
        offset, limit = int(request.clause("offset")), int(request.clause("limit"))
        if offset > 0 and offset >= self.broken_from:
            return answer(403, '[{"errorCode":"SVCSTG.SWR.4039002","errorMessage":"not for you"}]')
        numbers = range(self.count)[offset : offset + min(limit, self.cap)]
        rows = [{"name": f"r-{n}", "namespace": "仓库", "size": 2**20, "updated_at": UPDATED} for n in numbers]
        return page(json.dumps(rows), {"Content-Range": f"{offset}-{len(rows)}/{self.count}"})


@pytest.fixture
async def gateway(serve: Serve) -> str:
    """The address of a gateway."""
    return (await serve(timeout="50m", retries=2)).address


async def test_all_of_them_go_into_a_pipe_and_nothing_else(gateway: str, upstream: ScriptedUpstream, run: Run) -> None:
    upstream.play((Listing(2500),))
    ended = await run("list", "--target", gateway, "--all", "--output", "ndjson")
    assert (ended.code, ended.err) == (0, "")
    rows = [json.loads(line) for line in ended.out.splitlines()]
    assert [row["name"] for row in rows] == [f"r-{number}" for number in range(2500)]
    assert {(row["size"], row["updatedAt"], tuple(row)[:2]) for row in rows} == {(2**20, UPDATED, ("name", "category"))}


@pytest.mark.parametrize("cap", [30, 100])
async def test_all_of_them_come_although_pages_are_capped(
    cap: int, gateway: str, upstream: ScriptedUpstream, run: Run
) -> None:
    upstream.play((Listing(250, cap=cap),))
    ended = await run("list", "--target", gateway, "--all", "--output", "csv", "--columns", "name")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.split() == ["name", *(f"r-{number}" for number in range(250))]


@pytest.mark.parametrize("first", [0, 20])
async def test_a_list_of_many_pages_says_where_all_of_it_lies(
    first: int, gateway: str, upstream: ScriptedUpstream, run: Run
) -> None:
    upstream.play((Listing(250, cap=100),))
    arguments = ("list", "--target", gateway, "--all", "--resume", str(first), "--output")
    document = json.loads((await run(*arguments, "json")).out)
    assert len(document["repos"]) == 250 - first
    assert document["contentRange"] == {"offset": first, "count": 250 - first, "total": 250}
    *_, end = (await run(*arguments, "table")).out.splitlines()
    assert end == f"{250 - first} repositories, from offset {first}, of 250 in all"


@pytest.mark.parametrize("more", [(), ("--all",)], ids=["page", "all"])
async def test_every_output_holds_the_same(
    gateway: str, upstream: ScriptedUpstream, run: Run, more: tuple[str, ...]
) -> None:
    upstream.play((Listing(3),))
    page = more or ("--offset", "0", "--limit", "10")
    outs = {
        output: (await run("list", "--target", gateway, *page, "--output", output)).out
        for output in ("table", "json", "ndjson", "csv")
    }
    document = json.loads(outs["json"])
    assert document["contentRange"] == {"offset": 0, "count": 3, "total": 3}
    assert document["repos"] == [json.loads(line) for line in outs["ndjson"].splitlines()]
    rows = list(csv.DictReader(io.StringIO(outs["csv"])))
    assert tuple(rows[0]) == FIELDS
    assert [(row["name"], row["updated_at"]) for row in rows] == [(f"r-{number}", UPDATED) for number in range(3)]
    header, *lines = outs["table"].splitlines()
    assert header.split() == ["NAMESPACE", "NAME", "CATEGORY", "SIZE", "IMAGES", "UPDATED"]
    assert lines[0].split() == ["仓库", "r-0", "1.0", "MiB", "0", UPDATED]
    assert lines[-1] == "3 repositories, from offset 0, of 3 in all"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("table", "NAME  SIZE\nr-0   1.0 MiB\n\n1 repository, from offset 0, of 1 in all\n"),
        ("csv", "name,size\nr-0,1048576\n"),
        ("ndjson", '{"name": "r-0", "size": 1048576}\n'),
    ],
)
async def test_columns_are_those_asked_for(
    gateway: str, upstream: ScriptedUpstream, run: Run, output: str, expected: str
) -> None:
    upstream.play((Listing(1),))
    ended = await run("list", "--target", gateway, "--all", "--output", output, "--columns", "name,size")
    assert re.sub(r" +", " ", ended.out) == re.sub(r" +", " ", expected)


async def test_output_begins_with_the_first_page(gateway: str, upstream: ScriptedUpstream, start: Start) -> None:
    upstream.play((Listing(2500),), (Act.STALL,))
    command = await start("list", "--target", gateway, "--all", "--output", "ndjson")
    assert await command.prints(r'"name": "(r-0)"') == "r-0"


@pytest.mark.parametrize("output", ["table", "json"])
async def test_a_list_that_breaks_off_says_why_and_where_to_go_on(
    gateway: str, upstream: ScriptedUpstream, run: Run, output: str
) -> None:
    upstream.play((Listing(3000, broken_from=2000),))
    ended = await run("list", "--target", gateway, "--all", "--output", output)
    assert ended.code == 1
    if output == "json":
        assert len(json.loads(ended.out)["repos"]) == 2000
        told = json.loads(ended.err)["error"]
        assert (told["code"], told["message"], told["resume"]) == ("PERMISSION_DENIED", "not for you", 2000)
        assert told["metadata"] == {"httpStatus": "403", "upstreamCode": "SVCSTG.SWR.4039002", "attempts": "1"}
    else:
        status, hint, reason, *_ = ended.err.splitlines()
        assert (status, hint[:8]) == ("PERMISSION_DENIED: not for you", "  hint: ")
        assert reason.startswith("  reason: UPSTREAM_PERMISSION_DENIED (attempts 1, httpStatus")
        assert ended.err.endswith("\nTo go on behind what was listed: --resume 2000\n")


@pytest.mark.parametrize(
    ("code", "reason", "hint"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, "UPSTREAM_PERMISSION_DENIED", "swr:repo:listRepos"),
        (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_ALLOWED", "--tls-allowed-sans"),
        (grpc.StatusCode.PERMISSION_DENIED, "UPSTREAM_LEGAL_BLOCK", "the upstream's support"),
        (grpc.StatusCode.UNAUTHENTICATED, "UPSTREAM_CREDENTIAL_REJECTED", "where it is the gateway's own"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "GATEWAY_OVERLOADED", "try again later"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "UPSTREAM_STORAGE_EXHAUSTED", "the upstream's support"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "", "the --token may be too long"),
    ],
)
async def test_what_is_to_be_mended_is_said_by_the_reason_where_the_code_has_several(
    code: grpc.StatusCode, reason: str, hint: str, run: Run
) -> None:
    """Without a reason it is gRPC itself that refuses a token of 33 kB."""
    async with scripted_gateway() as scripted:
        scripted.play((Break(code, details=(ErrorInfo(reason=reason),) if reason else ()),))
        ended = await run("list", "--target", scripted.target)
    assert hint in ended.err.splitlines()[1]


async def test_who_runs_the_gateway_is_pointed_at_a_request_id_only_where_there_is_one(run: Run) -> None:
    async with scripted_gateway() as scripted:
        scripted.play((b"\xff",), (Break(grpc.StatusCode.INTERNAL, details=(RequestInfo(request_id="r-1"),)),))
        unreadable = await run("list", "--target", scripted.target)
        named = await run("list", "--target", scripted.target)
    assert "  hint: it is for whoever runs the gateway" in unreadable.err.splitlines()
    assert "  request id: r-1" in named.err.splitlines()
    assert "whose log has more under the request id" in named.err


async def test_a_wait_is_told_in_whole_seconds_that_are_enough(run: Run) -> None:
    async with scripted_gateway() as scripted:
        scripted.play((Break(pushback="56256"),))
        ended = await run("list", "--target", scripted.target)
    assert "  try again after: 57 s" in ended.err.splitlines()


async def test_numbers_are_exact_and_compare_as_numbers(gateway: str, upstream: ScriptedUpstream, run: Run) -> None:
    largest = {"name": "r", "size": 2**63 - 1, "num_images": 2**53 + 1, "num_download": 0}
    upstream.play(page(json.dumps([largest]), {"Content-Range": f"0-1/{2**31}"}))
    for output in ("json", "ndjson"):
        out = (
            await run("list", "--target", gateway, "--output", output, "--columns", "size,num_images,num_download")
        ).out
        found = json.loads(out)
        row = found["repos"][0] if output == "json" else found
        assert row == {"size": 2**63 - 1, "numImages": 2**53 + 1, "numDownload": 0}
    assert (
        '"contentRange": {"offset": 0, "count": 1, "total": 2147483648}'
        in (await run("list", "--target", gateway, "--output", "json")).out
    )


@pytest.mark.parametrize(
    ("arguments", "asked", "told"),
    [
        pytest.param((), "0 100", "100 of 256; --all lists them all\n", id="nothing asked for"),
        pytest.param(("--limit", "10"), "0 10", "10 of 256; --all lists them all\n", id="limit"),
        pytest.param(
            ("--offset", "100"),
            "100 100",
            "100 of 256, from offset 100; --all --resume 200 lists the rest\n",
            id="offset",
        ),
        pytest.param(("--offset", "156"), "156 100", "", id="the end"),
        pytest.param(("--offset", "300", "--limit", "5"), "300 5", "", id="behind the end"),
        pytest.param(("--limit", "256"), "0 256", "", id="all of them"),
        pytest.param(("--all",), "0 1000", "", id="all"),
    ],
)
@pytest.mark.parametrize("output", ["table", "json"])
async def test_a_page_that_is_not_the_end_says_so(
    output: str,
    arguments: tuple[str, ...],
    asked: str,
    told: str,
    gateway: str,
    upstream: ScriptedUpstream,
    run: Run,
) -> None:
    upstream.play((Listing(256, broken_from=1000),))
    ended = await run("list", "--target", gateway, *arguments, "--output", output)
    assert (ended.code, ended.err) == (0, told)
    (request,) = upstream.requests
    assert f"{request.clause('offset')} {request.clause('limit')}" == asked


@pytest.mark.parametrize("headers", [{}, {"Content-Range": "0-5/0"}], ids=["no total", "a total that cannot be"])
@pytest.mark.parametrize(("count", "told"), [(5, True), (4, False)])
async def test_a_full_page_of_nobody_knows_how_many_may_not_be_the_end(
    count: int, told: bool, headers: dict[str, str], gateway: str, upstream: ScriptedUpstream, run: Run
) -> None:
    upstream.play(page(json.dumps([{"name": f"r-{number}"} for number in range(count)]), headers))
    ended = await run("list", "--target", gateway, "--limit", "5")
    assert ended.code == 0
    assert ("there may be more; --all lists them" in ended.err) == told


async def test_a_page_that_was_cut_is_not_the_end(gateway: str, upstream: ScriptedUpstream, run: Run) -> None:
    upstream.play(page(json.dumps([{"name": "r"}] * 60), {"Content-Range": "0-100/250"}))
    assert (await run("list", "--target", gateway)).err == "60 of 250; --all lists them all\n"


async def test_a_list_goes_on_where_it_is_told_to(gateway: str, upstream: ScriptedUpstream, run: Run) -> None:
    upstream.play((Listing(25),))
    ended = await run("list", "--target", gateway, "--all", "--resume", "20", "--columns", "name", "--output", "csv")
    assert ended.out.split() == ["name", "r-20", "r-21", "r-22", "r-23", "r-24"]


async def test_violations_are_told_as_json_too(gateway: str, run: Run) -> None:
    ended = await run("list", "--target", gateway, "--name", "a|b", "--category", " c", "--output", "json")
    assert (ended.code, ended.out) == (1, "")
    violations = json.loads(ended.err)["error"]["violations"]
    assert [violation["field"] for violation in violations] == ["filter.name", "filter.category"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--all", "--limit", "5"), "--resume"),
        (("--resume", "5"), "--all"),
        (("--columns", "name,colour"), "'colour'"),
        (("--deadline", "soon"), "duration"),
        (("--limit", "0"), "1<=x<=1000"),
        (("--limit", "1001"), "1<=x<=1000"),
        (("--offset", "-1"), "--offset"),
        (("--offset", "2147483648"), "--offset"),
        (("--all", "--resume", "-1"), "--resume"),
    ],
)
async def test_a_wrong_command_line_is_explained_with_exit_code_2(
    run: Run, arguments: tuple[str, ...], told: str
) -> None:
    ended = await run("list", *arguments)
    assert ended.code == 2
    assert told in ended.err


async def test_who_is_asked_to_wait_for_an_hour_is_told_at_once(
    gateway: str, upstream: ScriptedUpstream, run: Run
) -> None:
    upstream.play(answer(503, "", {"Retry-After": "3600"}))
    ended = await run("list", "--target", gateway, "--all")
    assert ended.code == 1
    assert "try again after: 3600 s" in ended.err


@pytest.mark.parametrize("pushback", [None, "100"], ids=["at once", "after a wait"])
async def test_a_gateway_that_is_unavailable_is_not_asked_again(pushback: str | None, run: Run) -> None:
    async with scripted_gateway() as scripted:
        scripted.play((Break(pushback=pushback),), (repos_pb2.ListReposResponse(),))
        ended = await run("list", "--target", scripted.target)
    assert (ended.code, ended.err.splitlines()[0]) == (1, "UNAVAILABLE: on purpose")
    assert len(scripted.asked) == 1


async def test_the_deadline_is_kept(gateway: str, upstream: ScriptedUpstream, run: Run) -> None:
    upstream.play((Act.STALL,))
    ended = await run("list", "--target", gateway, "--all", "--deadline", "300ms")
    assert ended.code == 1
    assert ended.err.startswith("DEADLINE_EXCEEDED: ")


async def test_who_reads_only_the_first_line_is_not_told_of_a_broken_pipe(
    gateway: str, upstream: ScriptedUpstream, start: Start
) -> None:
    upstream.play((Listing(200_000),))
    reading, writing = os.pipe()
    command = await start("list", "--target", gateway, "--all", "--output", "ndjson", stdout=writing)
    os.close(writing)
    await asyncio.to_thread(os.read, reading, 10)
    os.close(reading)
    ended = await command.ends()
    assert (ended.code, ended.err) == (1, "")


async def read_to(command: Command, text: str) -> str:
    """Read standard output up to the line that has a text."""
    assert command.process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while not lines or text not in lines[-1]:
            lines.append((await command.process.stdout.readline()).decode())
            assert lines[-1], lines
    return "".join(lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("output", ["json", "table"])
async def test_who_interrupts_a_list_has_what_was_listed_and_is_told_where_to_go_on(
    output: str, number: signal.Signals, gateway: str, upstream: ScriptedUpstream, start: Start
) -> None:
    upstream.play((Listing(3000),), (Act.STALL,))
    command = await start("list", "--target", gateway, "--all", "--output", output)
    first = await read_to(command, "r-999")
    command.signal(number)
    ended = await command.ends()
    assert ended.code == 128 + number
    if output == "json":
        told = json.loads(ended.err)["error"]
        assert (told["code"], told["message"], told["resume"]) == ("CANCELLED", "interrupted", 1000)
        assert len(json.loads(first + ended.out)["repos"]) == 1000
    else:
        assert ended.err == "CANCELLED: interrupted\nTo go on behind what was listed: --resume 1000\n"
        assert ended.out.endswith("\n1000 repositories, from offset 0, of 3000 in all\n")


async def test_who_interrupts_before_anything_came_has_nothing(
    gateway: str, upstream: ScriptedUpstream, start: Start
) -> None:
    upstream.play((Act.STALL,))
    command = await start("list", "--target", gateway, "--output", "json")
    async with asyncio.timeout(PATIENCE):
        await upstream.all_arrived(1)
    command.signal(signal.SIGINT)
    ended = await command.ends()
    assert (ended.code, ended.out) == (130, "")
    assert json.loads(ended.err)["error"]["resume"] is None


async def test_a_second_signal_ends_a_list_that_nobody_reads(
    gateway: str, upstream: ScriptedUpstream, start: Start
) -> None:
    upstream.play((Listing(200_000),))
    reading, writing = os.pipe()
    command = await start("list", "--target", gateway, "--all", "--output", "ndjson", stdout=writing)
    os.close(writing)
    full = fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ)
    async with asyncio.timeout(PATIENCE):
        await asyncio.to_thread(wait_for, lambda: waiting_bytes(reading) == full)
        command.signal(signal.SIGINT)
        await asyncio.to_thread(wait_for, lambda: not handles(command.process.pid, signal.SIGINT))
        command.signal(signal.SIGINT)
        await command.process.wait()
    os.close(reading)
    assert (await command.ends()).code == -signal.SIGINT


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        os.sched_yield()


def handles(process: int, number: signal.Signals) -> bool:
    """Tell whether a process has a handler for a signal."""
    status = Path(f"/proc/{process}/status").read_text("ascii")
    handled = re.search(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
    assert handled
    return bool(int(handled[1], 16) >> (number - 1) & 1)


async def drawn_by(start: Start, *arguments: str) -> str:
    """Return everything that a command draws on a terminal of 120 columns."""
    drawn = await on_terminal(start, *arguments, columns=120)
    assert drawn.code == 0
    return drawn.raw


async def test_a_terminal_shows_progress_and_what_people_read(
    gateway: str, upstream: ScriptedUpstream, start: Start
) -> None:
    upstream.play((Listing(2500),))
    drawn = await drawn_by(start, "list", "--target", gateway, "--all")
    assert re.search(r"2500/2500", drawn)
    assert "2017-09-11 03:00" in drawn
    assert UPDATED not in drawn
    assert {f"r-{number}" for number in range(2500)} <= set(re.findall(r"r-\d+", drawn))
    assert "2500 repositories, from offset 0, of 2500 in all" in drawn


@pytest.mark.parametrize("output", ["json", "ndjson", "csv"])
async def test_the_bar_takes_nothing_of_the_output_away(
    gateway: str, upstream: ScriptedUpstream, start: Start, output: str
) -> None:
    upstream.play((Listing(1003),))
    drawn = await drawn_by(start, "list", "--target", gateway, "--all", "--output", output, "--columns", "name")
    erased = re.sub(r"[^\n]*\x1b\[2K", "", drawn)  # the bar erases the line that it stands on
    assert {f"r-{number}" for number in range(1003)} <= set(re.findall(r"r-\d+", erased))


# C0, DEL, C1, a direction that is turned round, the separator of lines, a character that is none.
HOSTILE = "\x1b]0;owned\x07\x7f\x9b2J\r\n\u202e\u2028\U000e0001"
HOSTILE_ROW = {"name": HOSTILE, "namespace": HOSTILE, "category": HOSTILE, "description": HOSTILE, "tags": [HOSTILE]}


@pytest.mark.parametrize("output", ["table", "json", "ndjson", "csv"])
async def test_no_control_character_of_others_reaches_a_terminal(
    gateway: str, upstream: ScriptedUpstream, start: Start, run: Run, output: str
) -> None:
    upstream.play(page(json.dumps([HOSTILE_ROW]), {"Content-Range": "0-1/1"}))
    arguments = ("list", "--target", gateway, "--output", output)
    drawn = await drawn_by(start, *arguments)
    assert "]0;owned" in drawn
    assert [line for line in drawn.split("\r\n") if not line.isprintable()] == []
    with_bar = await drawn_by(start, *arguments, "--all")
    without_the_bars = re.sub(r"\x1b\[\??[\d;]*[A-Za-z]|[\r\n]", "", with_bar)
    assert without_the_bars.isprintable()
    piped = (await run(*arguments)).out
    match output:
        case "csv":
            (row,) = csv.DictReader(io.StringIO(piped))
            assert row["description"] == row["tags"] == HOSTILE
        case "ndjson":
            assert json.loads(piped)["description"] == HOSTILE
        case "json":
            assert json.loads(piped)["repos"][0]["description"] == HOSTILE


@pytest.mark.parametrize("output", ["table", "json"])
async def test_no_control_character_of_a_failure_reaches_a_terminal(run: Run, output: str) -> None:
    async with scripted_gateway() as hostile:
        hostile.play((Break(grpc.StatusCode.NOT_FOUND, message=HOSTILE),))
        ended = await run("list", "--target", hostile.target, "--output", output)
    assert "]0;owned" in ended.err
    assert [line for line in ended.err.split("\n") if not line.isprintable()] == []
    if output == "json":
        assert json.loads(ended.err)["error"]["message"] == HOSTILE


async def test_a_single_page_on_a_terminal_has_no_bar(gateway: str, upstream: ScriptedUpstream, start: Start) -> None:
    upstream.play((Listing(3),))
    drawn = await drawn_by(start, "list", "--target", gateway, "--offset", "0", "--limit", "3")
    assert "\x1b" not in drawn
    assert "3 repositories, from offset 0, of 3 in all" in drawn
