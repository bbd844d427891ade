"""`simulate` with keys, users and tokens: it says how to serve in front of it, and that command works."""

from __future__ import annotations

import re
import shlex
from datetime import datetime

import aiohttp
import pytest

from commands import Command, Run, Start
from gateway.cli.simulate import how_to_serve
from gateway.simulator.access import Access, Authenticator
from gateway.upstream.session import MAX_HEADER_BYTES

SECRETS = {
    "SWR_GATEWAY_ACCESS_KEY": "AK-1",
    "SWR_GATEWAY_SECRET_KEY": "SK-1",
    "SWR_GATEWAY_SECURITY_TOKEN": "ST-1",
    "SWR_GATEWAY_IAM_PASSWORD": "pass word",
}
KEY = ("--access-key", "AK-1", "--secret-key", "SK-1")
USER = ("--username", "robot o'brien", "--password", "pass word")


async def simulate(start: Start, *arguments: str) -> tuple[str, dict[str, str], list[str]]:
    """Start an upstream; return its URL, and the proposed command: its variables, filled in, and its arguments."""
    command = await start("simulate", "--listen", "127.0.0.1:0", "--repos", "3", *arguments)
    url = await command.prints(r"^3 repositories on (http://\S+)$")
    words = shlex.split(await command.prints(r"^In another terminal: (.+)$"))
    name = words.index("swr-gateway")
    assert all(word.endswith("=...") for word in words[:name])
    return url, {variable: SECRETS[variable] for variable in (word[:-4] for word in words[:name])}, words[name + 1 :]


async def serve(start: Start, arguments: list[str], variables: dict[str, str]) -> str:
    """Start the proposed gateway on a free port; return its address."""
    command: Command = await start(*arguments, "--listen", "127.0.0.1:0", **variables)
    return await command.logs(r"serving on ([^\s,]+)")


@pytest.mark.parametrize(
    ("flags", "auth", "callers"),
    [
        pytest.param((), "none", (), id="open"),
        pytest.param(("--token", "t-1"), "passthrough", ("--token", "t-1"), id="token"),
        pytest.param(KEY, "aksk", (), id="key"),
        pytest.param((*KEY, "--security-token", "ST-1"), "aksk", (), id="temporary key"),
        pytest.param(USER, "iam", (), id="user"),
        pytest.param((*KEY, *USER, "--token", "t-1"), "iam", (), id="everything"),
    ],
)
async def test_the_command_that_simulate_proposes_is_let_in(
    flags: tuple[str, ...], auth: str, callers: tuple[str, ...], start: Start, run: Run
) -> None:
    url, variables, arguments = await simulate(start, *flags)
    assert arguments[:3] == ["serve", "--upstream-url", url]
    assert arguments[arguments.index("--auth") + 1] == auth
    assert not {*SECRETS.values(), "t-1"} & {*arguments}
    target = await serve(start, arguments, variables)
    listed = await run("list", "--target", target, "--output", "ndjson", *callers)
    assert (listed.code, listed.err) == (0, "")
    assert len(listed.out.splitlines()) == 3


@pytest.mark.parametrize(
    ("flags", "variable", "message"),
    [
        pytest.param(KEY, "SWR_GATEWAY_SECRET_KEY", "UNAUTHENTICATED: ", id="secret key"),
        pytest.param(USER, "SWR_GATEWAY_IAM_PASSWORD", "UNAVAILABLE: ", id="password"),
    ],
)
async def test_with_another_secret_nobody_is_let_in(
    flags: tuple[str, ...], variable: str, message: str, start: Start, run: Run
) -> None:
    _, variables, arguments = await simulate(start, *flags)
    target = await serve(start, arguments, variables | {variable: "wrong"})
    listed = await run("list", "--target", target)
    assert listed.code == 1
    assert listed.err.startswith(message)


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        pytest.param(("--access-key", "AK-1"), ("--access-key", "--secret-key"), id="no secret key"),
        pytest.param(("--secret-key", "SK-1"), ("--access-key", "--secret-key"), id="no access key"),
        pytest.param(("--username", "robot"), ("--username", "--password"), id="no password"),
        pytest.param(("--password", "p"), ("--username", "--password"), id="no username"),
        pytest.param(("--security-token", "ST-1"), ("--security-token", "--access-key"), id="no key at all"),
        pytest.param((*KEY, "--token-life", "5"), ("--token-life",), id="life without a unit"),
    ],
)
async def test_half_of_what_belongs_together_is_refused_by_name(
    flags: tuple[str, ...], names: tuple[str, ...], run: Run
) -> None:
    # Where it is let through, it leaves because of the address, with 1.
    ended = await run("simulate", "--listen", "no-such-host.invalid:0", *flags)
    assert (ended.code, ended.out) == (2, "")
    for name in names:
        assert re.search(rf"{name}\b", ended.err)
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("host", ["192.0.2.1", "0.0.0.0", "[::]"])
@pytest.mark.parametrize(
    "access",
    [
        pytest.param(Access(), id="open"),
        pytest.param(Access(token="t-1"), id="token"),
        pytest.param(Access(access_key="AK-1", secret_key="SK-1"), id="key"),
        pytest.param(Access(username="robot", password="pass"), id="user"),
    ],
)
async def test_the_command_that_simulate_proposes_starts_wherever_it_listens(
    access: Access, host: str, run: Run
) -> None:
    words = shlex.split(how_to_serve(f"http://{host}:8080", access))
    name = words.index("swr-gateway")
    variables = dict(word.split("=") for word in words[:name])
    assert words[name + 1] == "serve"
    ended = await run("check-config", *words[name + 2 :], **variables)
    assert (ended.code, ended.err) == (0, "")


async def test_tokens_die_in_the_words_and_values_are_as_odd_as_ordered(start: Start, run: Run) -> None:
    switches = ("--token-dies", "0.001ms", "--token-rejection", "must-be-updated", "--odd-values")
    _, variables, arguments = await simulate(start, *USER, *switches)
    listed = await run("list", "--target", await serve(start, arguments, variables))
    assert (listed.code, listed.out) == (1, "")
    assert listed.err.startswith("UNAUTHENTICATED: The token must be updated.\n")
    assert "attempts 2" in listed.err
    _, variables, arguments = await simulate(start, *USER, "--token-dies", "1h", "--odd-values")
    listed = await run("list", "--target", await serve(start, arguments, variables), "--output", "ndjson")
    assert (listed.code, listed.err) == (0, "")
    assert "cut in the middle of a \ufffd" in listed.out


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"auth": null}', id="no user"),
        pytest.param(b'{"auth": "\xff"}', id="not UTF-8"),
        pytest.param(b"[" * 100_000, id="nested too deep"),
    ],
)
async def test_a_request_for_a_token_that_cannot_be_read_is_a_bad_one(body: bytes) -> None:
    authenticator = Authenticator(Access(username="robot", password="pass"))
    assert authenticator.issue(body).status == 400


async def test_tokens_live_as_long_as_they_are_told_to(start: Start) -> None:
    url, _, _ = await simulate(start, *USER, "--token-life", "90s")
    user = {"name": "robot o'brien", "password": "pass word"}
    body = {"auth": {"identity": {"password": {"user": user}}}}
    async with (
        aiohttp.ClientSession(max_field_size=MAX_HEADER_BYTES) as session,
        session.post(f"{url}/v3/auth/tokens", json=body) as response,
    ):
        assert (response.status, len(response.headers["X-Subject-Token"])) == (201, 12_000)
        token = (await response.json())["token"]
    life = datetime.fromisoformat(token["expires_at"]) - datetime.fromisoformat(token["issued_at"])
    assert life.total_seconds() == 90
