"""The README says what is so: its tables are those of the code, its example runs."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import grpc
import pytest

from conftest import Serve
from gateway.core import errors, status
from gateway.settings.model import PREFIX, SECRETS, Settings
from gateway.settings.names import flag, variable
from gateway.simulator.app import make_app, running
from gateway.simulator.data import default_repositories
from swr_gateway_client.channel import SERVICE_CONFIG

SAID = "nginx 200977474 2017-09-11T03:00:02.542841141Z\n1 in all\nroot/nginx\n"

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def rows(section: str) -> list[list[str]]:
    """Return the cells of the table in a section, without their backticks."""
    text = README.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip().strip("`") for cell in line[1:-1].replace("| |", "|  |").split(" | ")] for line in lines]


def test_the_table_of_settings_is_complete() -> None:
    written = Settings.model_construct().model_dump(mode="json")
    expected = [
        [
            "" if name in SECRETS else flag(name),
            variable(name).removeprefix(PREFIX),
            {"None": "", "True": "on", "False": "off"}.get(str(written[name]), str(written[name])),
        ]
        for name in Settings.model_fields
    ]
    assert [row[:3] for row in rows("Settings")] == expected


def test_the_table_of_errors_is_complete() -> None:
    causes = [cause for room in (errors, status) for cause in vars(room).values() if isinstance(cause, errors.Cause)]
    names = {code.value[0]: code.name for code in grpc.StatusCode}
    by_reason: dict[str, set[str]] = {}
    for cause in causes:
        by_reason.setdefault(cause.reason, set()).add(names[cause.code])
    table = {reason: code for reason, code, _ in rows("Errors")}
    assert table.keys() == by_reason.keys()
    assert {reason: code for reason, code in table.items() if code not in by_reason[reason]} == {}


def test_the_sections_come_in_the_order_of_a_newcomers_questions() -> None:
    assert re.findall(r"^## (.*)$", README, re.MULTILINE)[:7] == [
        "Two commands",
        "One call",
        "How a request flows",
        "In a cluster",
        "Settings",
        "Errors",
        "Not supported",
    ]


def test_what_the_docs_name_is_there() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        named = re.findall(r"`((?:tests|benchmarks|gateway|clients)/[\w/]+\.\w+)`|\]\(([\w./-]+)\)", page.read_text())
        assert named, page
        for path, link in named:
            assert (ROOT / path if path else page.parent / link).exists(), (page.name, path, link)


def test_the_published_service_config_is_the_one_that_the_client_uses() -> None:
    assert (ROOT / "docs" / "service-config.json").read_text() == SERVICE_CONFIG


async def test_the_examples_of_the_client_run(serve: Serve, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = (ROOT / "clients" / "python" / "README.md").read_text()
    looped, plain, failing, secure = (part.partition("```")[0] for part in text.split("```python\n")[1:])
    async with running(make_app(default_repositories())) as url:
        address = (await serve(upstream_url=url)).address

        async def said(code: str) -> str:
            await asyncio.to_thread(exec, code.replace("127.0.0.1:50051", address), {"__name__": "__main__"})
            return capfd.readouterr().out

        listed = "1 in all\nroot/nginx 200977474 2017-09-11T03:00:02.542841141Z\n"
        assert (listing := await said(looped)).startswith(listed)
        assert await said(plain) == listing
        assert (await said(failing)).splitlines()[0] == "INVALID_ARGUMENT INVALID_REQUEST"
        for name in ("ca", "key", "cert"):
            (tmp_path / f"{name}.pem").touch()
        assert await said(secure.replace('Path("', f'Path("{tmp_path}/')) == ""


async def test_the_example_in_python_runs(serve: Serve, capfd: pytest.CaptureFixture[str]) -> None:
    example = README.partition("```python\n")[2].partition("```")[0]
    async with running(make_app(default_repositories())) as url:
        code = example.replace("127.0.0.1:50051", (await serve(upstream_url=url)).address)
        await asyncio.to_thread(exec, code, {"__name__": "__main__"})
    assert capfd.readouterr().out.startswith(SAID)
