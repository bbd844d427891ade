"""The README and its pages say what is so: what is made of the code is fresh, links lead somewhere, examples run."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from google.rpc import code_pb2
from rich.cells import cell_len

from commands import Run
from conftest import Serve
from docs.generate.errors_page import errors_page
from docs.generate.picture import COMMANDS, PICTURE, picture
from docs.generate.settings_page import settings_page
from gateway.core import errors, status
from gateway.settings.model import PREFIX, SECRETS, Settings
from gateway.settings.names import flag, variable
from gateway.simulator.app import make_app, running
from gateway.simulator.data import default_repositories
from swr_gateway_client.channel import SERVICE_CONFIG

SAID = "nginx 200977474 2017-09-11T03:00:02.542841141Z\n1 in all\nroot/nginx\n"

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
FOLDERS = (r"\.ci", "benchmarks", "clients", "deploy", "docs", "gateway", "mutation", "protos", "requirements", "tests")
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(DOCS.glob("*.md")),
    ROOT / "clients" / "README.md",
    *sorted(ROOT.glob("clients/*/README.md")),
    *sorted((ROOT / "deploy").glob("**/README.md")),
]


def rows(page: str) -> list[list[str]]:
    """Return the cells of all tables of a page, but for their heads."""
    lines = re.findall(r"^\| (.*) \|$", page.replace("| |", "|  |"), re.MULTILINE)
    return [cells for cells in (line.split(" | ") for line in lines) if cells[0] not in ("flag", "reason", "---")]


@pytest.mark.parametrize(("name", "made"), [("settings.md", settings_page), ("errors.md", errors_page)])
def test_a_page_that_is_made_of_the_code_is_fresh(name: str, made: Callable[[], str]) -> None:
    assert (DOCS / name).read_text() == made(), "make docs"


def test_the_page_of_settings_has_all_of_them_with_their_defaults() -> None:
    written = Settings.model_construct().model_dump(mode="json")
    expected = [
        (
            "" if name in SECRETS else flag(name),
            variable(name).removeprefix(PREFIX),
            {"None": "", "True": "on", "False": "off"}.get(str(written[name]), str(written[name])),
        )
        for name in Settings.model_fields
    ]
    found = [
        (given.strip(" `").partition(" ")[0], name.strip("`"), default.strip(" `"))
        for given, name, default, _ in rows(settings_page())
    ]
    assert found == expected


def test_the_page_of_errors_has_every_reason_once_with_its_codes() -> None:
    causes = [cause for room in (errors, status) for cause in vars(room).values() if isinstance(cause, errors.Cause)]
    codes: dict[str, set[str]] = {}
    for cause in causes:
        codes.setdefault(cause.reason, set()).add(code_pb2.Code.Name(cause.code))
    reasons = errors_page().partition("## By the upstream's own code")[0]
    assert {reason.strip("`"): {*code.split(", ")} for reason, code, *_ in rows(reasons)} == codes
    assert len(rows(reasons)) == len(codes)


def test_the_page_of_errors_has_every_code_and_status_of_the_upstream() -> None:
    told = errors_page()
    for name in (*status.CLIENT_ERROR_CODES, *status.SERVER_ERROR_CODES):
        assert f"`{name}`" in told
    statuses = {cells[0].strip("`"): cells[3] for cells in rows(told) if len(cells) == 5}
    for number in range(200, 600):
        if not status.is_page(number):
            found = statuses[status.find_cause(number).reason].split(", ")
            assert str(number) in found or f"any other {number // 100}xx" in found, number


def shown(svg: str) -> str:
    """Return the text of a picture of a terminal, line by line."""
    matrix = svg.partition('<g class="terminal-matrix">')[2]
    spans = re.findall(r'x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)</text>', matrix)
    lines: dict[float, str] = {}
    for _, y, text in sorted(spans, key=lambda span: (float(span[1]), float(span[0]))):
        lines[float(y)] = lines.get(float(y), "") + html.unescape(text).replace("\xa0", " ")
    return "\n".join(line.rstrip() for line in lines.values())


async def test_the_picture_shows_what_the_commands_print_today() -> None:
    text = shown((DOCS / PICTURE).read_text())
    assert text == shown(await asyncio.to_thread(picture)), "make docs"
    assert [line for line in text.splitlines() if line.startswith("$ ")] == [f"$ {command}" for command in COMMANDS]
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "UPDATED (UTC)" in text
    assert "reason: UPSTREAM_CREDENTIAL_REJECTED (attempts 1, httpStatus 401, upstreamCode\n    APIGW.0301)" in text


def test_the_picture_asks_no_host_for_anything() -> None:
    assert set(re.findall(r"https?://[^\"')\s]+", (DOCS / PICTURE).read_text())) == {"http://www.w3.org/2000/svg"}
    assert f"(docs/{PICTURE})" in README


def test_the_sections_come_in_the_order_of_a_newcomers_questions() -> None:
    assert re.findall(r"^## (.*)$", README, re.MULTILINE) == [
        "Two commands",
        "Install",
        "Why not ...",
        "One call",
        "Fast",
        "Documentation",
        "Not supported",
        "To change it",
    ]


def test_the_readme_says_of_speed_what_was_measured() -> None:
    measured = rows((DOCS / "performance.md").read_text())
    calls = {system: figures for system, _, *figures in (cells for cells in measured if len(cells) == 5)}
    (ten, hundred, thousand), (_, hundred_new, thousand_new) = calls["gateway"], calls["gateway cold"]
    [more] = [cells[3] for cells in measured if len(cells) == 4 and cells[0] == "gateway"]
    said = README.partition("## Fast\n")[2].partition("\n## ")[0]
    figures = (thousand, thousand_new, hundred, hundred_new, ten, more)
    shown = [f"{float(figure.split()[0]):.1f}" for figure in figures]
    assert re.findall(r"([\d.]+)(?: times(?! as)| ms more)", said) == shown


def test_every_page_of_the_docs_is_named_in_the_readme() -> None:
    assert {f"docs/{page.name}" for page in DOCS.glob("*.md")} <= set(re.findall(r"\]\(([\w./-]+)", README))


def targets(folder: Path) -> set[str]:
    """Return what there is to make in a folder."""
    makefile = folder / "Makefile"
    return set(re.findall(r"(?m)^([a-z-]+):", makefile.read_text())) if makefile.exists() else set()


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    for path in re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path
    for target in re.findall(r"(?:`|\n\$ )make ([a-z-]+)", text):
        assert target in targets(ROOT) | targets(page.parent), target
    for link, anchor in re.findall(r"\]\((?!https?:)([\w./-]*)(?:#([\w-]+))?\)", text):
        target = page.parent / link if link else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), (link, anchor)


@pytest.mark.parametrize(
    ("client", "said", "file", "demanded"),
    [
        ("go", r"With Go (\S+) or newer", "go.mod", r"\ngo (\d+\.\d+)"),
        ("go-connect", r"With Go (\S+) or newer", "go.mod", r"\ngo (\d+\.\d+)"),
        ("rust", r"With Rust (\S+) or newer", "Cargo.toml", r'rust-version = "(.+)"'),
        ("typescript-connect", r"With Node (\S+) or newer", "package.json", r'"node": ">=(\d+)"'),
        ("typescript-grpc-js", r"With Node (\S+) or newer", "package.json", r'"node": ">=(\d+)"'),
        ("web", r"with Node (\S+) or newer", "package.json", r'"node": ">=(\d+)"'),
        ("java", r"Java (\d+) or newer", "pom.xml", r"<maven.compiler.release>(\d+)<"),
    ],
)
def test_a_client_names_the_tools_that_it_demands(client: str, said: str, file: str, demanded: str) -> None:
    folder = ROOT / "clients" / client
    assert re.findall(said, (folder / "README.md").read_text()) == re.findall(demanded, (folder / file).read_text())


def test_the_published_service_config_is_the_one_that_the_client_uses() -> None:
    assert (DOCS / "service-config.json").read_text() == SERVICE_CONFIG


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


async def test_the_failed_call_of_the_readme_says_what_it_says_there(serve: Serve, run: Run) -> None:
    expected = README.partition("The last one prints\n\n```text\n")[2].partition("```")[0]
    async with running(make_app(default_repositories())) as url:
        ended = await run("list", "--target", (await serve(upstream_url=url)).address, "--name", "a|b")
    printed, shown = (re.sub(r"(?<=request id: )\w{32}", "", text) for text in (ended.err, expected))
    assert printed == shown
