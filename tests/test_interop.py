"""The runner of `make interop`, with the driver in Python: it plays on a real gateway, and what is wrong is seen."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import clients.interop.cases  # noqa: F401 - registers them
from clients.interop import playing
from clients.interop.__main__ import at_hand, choose
from clients.interop.case import CASES, OK, Case, Verdict
from clients.interop.checks import same
from clients.interop.expectations import DIFFERENCES
from clients.interop.playing import judge, play, play_all
from clients.interop.registry import CLIENTS, CLIENTS_FOLDER, Client
from clients.interop.report import as_markdown, as_text
from clients.interop.stage import Stage
from clients.interop.world import world

PYTHON = next(client for client in CLIENTS if client.language == "Python")
QUICK = ("empty_unary", "filter_fields", "bad_filter", "error_details", "exact_numbers", "resume")


async def test_the_client_in_python_plays_on_a_real_gateway(tmp_path: Path) -> None:
    outcomes = await play_all([PYTHON], [CASES[name] for name in QUICK], tmp_path)
    seen = {name: (one.seen, one.remark) for name, one in outcomes[PYTHON.name].items()}
    assert seen == dict.fromkeys(QUICK, (OK, ""))


async def rejecting(stage: Stage) -> str:
    await stage.connect()
    await stage.list_repos()
    same(len(stage.upstream.requests), 7, "the number of requests")
    return OK


async def failing(_: Stage) -> str:
    raise LookupError("no such thing")


async def counting(_: Stage) -> str:
    return "2 of 3"


BROKEN = Client("broken", "Python", "python", module="clients.interop.no_such_driver")
WRONG = (
    (PYTHON, Case("a", "", rejecting), "wrong", "the number of requests is 1 and not 7"),
    (PYTHON, Case("a", "", failing), "wrong", "LookupError: no such thing"),
    (PYTHON, Case("a", "", counting, "3 of 3"), "2 of 3", "'2 of 3' was seen, and '3 of 3' expected"),
    (
        BROKEN,
        Case("a", "", rejecting),
        "ended",
        "the driver ended and said:\n.* No module named .*no_such_driver",
    ),
)


async def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    async with world(tmp_path) as around:
        for client, case, seen, remark in WRONG:
            played = await play(case, client, around)
            assert (played.seen, played.verdict) == (seen, Verdict.FAILED)
            assert re.fullmatch(remark, played.remark)
            last_lines = as_text([case], {client.name: {"a": played}}).splitlines()[1:]
            assert "\n".join(last_lines).endswith(f"wrong: a, {client.name}: {played.remark}")


def test_a_client_that_differs_by_its_nature_has_the_reason_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("a", "What is done.", counting, "3 of 3")
    monkeypatch.setattr(playing, "DIFFERENCES", {("a", PYTHON.name): (r"\d of 3", "It is slow.")})
    played = judge(case, PYTHON, "2 of 3")
    assert played.verdict is Verdict.DIFFERS
    page = as_markdown([case], [PYTHON], {PYTHON.name: {"a": played}})
    assert "| `a` | 2 of 3 (1) |" in page
    assert "1. It is slow." in page


def test_names_choose_clients_and_cases() -> None:
    clients, cases = choose(["Python"])
    assert (clients, cases) == ([PYTHON], list(CASES.values()))
    clients, cases = choose(["grpcio", "empty"])
    assert (clients, [case.name for case in cases]) == ([PYTHON], ["empty_unary"])
    assert choose(["nonsense"])[1] == []


def test_a_toolchain_that_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    lacking = Client("cobol", "COBOL", "cobol", needs=("no-such-compiler",))
    assert at_hand([PYTHON, lacking]) == ([PYTHON], {"no-such-compiler"})
    assert capsys.readouterr().out == "without cobol: no-such-compiler is missing\n"


def test_differences_are_of_clients_and_cases_that_there_are() -> None:
    assert {case for case, _ in DIFFERENCES} <= CASES.keys()
    assert {client for _, client in DIFFERENCES} <= {client.name for client in CLIENTS}


def test_every_driver_has_a_client_of_which_the_version_is_known() -> None:
    drivers = {path.parent.name for path in CLIENTS_FOLDER.glob("*/interop") if path.is_file()}
    assert drivers <= {client.folder for client in CLIENTS}
    assert all(client.version for client in CLIENTS if client.is_here and not (client.package and client.missing))


def test_a_library_of_the_system_that_is_not_there_is_missing() -> None:
    client = Client("gRPC--", "C--", "c--", needs=("pkg-config",), package="no-such-library")
    assert client.missing == ["no-such-library" if shutil.which("pkg-config") else "pkg-config"]
