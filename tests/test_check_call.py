"""`check-config --call`: one request, signed in as a call's would be, and what came of it in words."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from certificates import issue, tls_upstream
from commands import PATIENCE, Ended, Run, Start, without_name_server
from gateway.cli.remedies import remedy
from gateway.core import errors, status
from gateway.settings.load import load_settings
from gateway.settings.model import Auth
from gateway.simulator.access import Access, Authenticator
from gateway.simulator.app import make_app, running
from gateway.simulator.data import default_repositories
from ports import held_port
from scripted_upstream import Act, Script, ScriptedUpstream, answer, page, scripted_upstream

CANARY = "canary-4711"
ACCESS = Access(
    token=CANARY, access_key="AK", secret_key=CANARY, security_token=f"st-{CANARY}", username="robot", password=CANARY
)
IAM = ("--iam-username", "robot", "--iam-domain", "company", "--iam-project", "cn-north-4")
AKSK = {"SWR_GATEWAY_ACCESS_KEY": "AK", "SWR_GATEWAY_SECRET_KEY": CANARY}


async def call(run: Run, upstream_url: str, *arguments: str, **variables: str) -> Ended:
    ended = await run("check-config", "--call", "--upstream-url", upstream_url, *arguments, **variables)
    assert CANARY not in ended.out + ended.err
    assert "Traceback" not in ended.err
    return ended


def assert_ok(ended: Ended, url: str, found: str) -> None:
    assert (ended.code, ended.err) == (0, "")
    assert re.fullmatch(rf"# one request to {re.escape(url)}: OK in \d+ ms: {found}", ended.out.splitlines()[-1])


def assert_failed(ended: Ended, asked: str, *parts: str) -> None:
    assert ended.code == 1
    first, *rest = ended.err.splitlines()
    assert re.fullmatch(rf"error: one request to {re.escape(asked)} failed after \d+ ms", first)
    assert re.fullmatch(r"  to mend: \S.+", rest[-1])
    for part in parts:
        assert part in ended.err


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        pytest.param(("--auth", "passthrough", "--caller-token", CANARY), {}, id="passthrough, a flag"),
        pytest.param(("--auth", "passthrough"), {"SWR_GATEWAY_TOKEN": CANARY}, id="passthrough, a variable"),
        pytest.param(("--auth", "token"), {"SWR_GATEWAY_TOKEN": CANARY}, id="token"),
        pytest.param(("--auth", "token", "--token-file", "{folder}/token"), {}, id="token file"),
        pytest.param(("--auth", "aksk"), {**AKSK, "SWR_GATEWAY_SECURITY_TOKEN": f"st-{CANARY}"}, id="aksk"),
        pytest.param(("--auth", "iam", "--iam-url", "{url}", *IAM), {"SWR_GATEWAY_IAM_PASSWORD": CANARY}, id="iam"),
    ],
)
async def test_every_credential_is_put_to_use(
    arguments: tuple[str, ...], variables: dict[str, str], tmp_path: Path, run: Run
) -> None:
    (tmp_path / "token").write_text(CANARY)
    repositories = default_repositories()
    async with running(make_app(repositories, authenticator=Authenticator(ACCESS))) as url:
        given = (argument.format(url=url, folder=tmp_path) for argument in arguments)
        ended = await call(run, url, *given, **variables)
    assert_ok(ended, url, r"256 repositories in all")


async def test_one_repository_is_asked_for_by_one_request(upstream: ScriptedUpstream, run: Run) -> None:
    upstream.play(page('[{"name":"a"}]', {"Content-Range": "0-1/7"}))
    ended = await call(run, upstream.url, "--auth", "none", "--dialect", "filter-quoted")
    assert_ok(ended, upstream.url, "7 repositories in all")
    (request,) = upstream.requests
    assert request.clause("limit") == "1'"
    assert request.headers["x-request-id"]


@pytest.mark.parametrize(("body", "rows"), [('[{"name":"a"}]', "1"), ("[]", "0")])
async def test_a_total_that_is_not_told_is_not_made_up(
    body: str, rows: str, upstream: ScriptedUpstream, run: Run
) -> None:
    upstream.play(page(body))
    ended = await call(run, upstream.url, "--auth", "none")
    assert_ok(ended, upstream.url, f"{rows} of the repositories; the upstream does not tell how many there are")


async def test_what_is_printed_is_a_file_with_the_settings_still(
    upstream: ScriptedUpstream, tmp_path: Path, run: Run
) -> None:
    ended = await call(run, upstream.url, "--auth", "none", "--timeout", "3s", SWR_GATEWAY_ATTEMPT_TIMEOUT="2s")
    assert tomllib.loads(ended.out)["attempt_timeout"] == "2s"
    (tmp_path / "gateway.toml").write_text(ended.out)
    assert load_settings({}, tmp_path / "gateway.toml").upstream_url == upstream.url


SWR_ERROR = '[{"errorCode":"SVCSTG.SWR.4001048","errorMessage":"said so"}]'


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ((answer(401, SWR_ERROR),), ("UNAUTHENTICATED: said so", "UPSTREAM_CREDENTIAL_REJECTED", "five refusals")),
        ((answer(403),), ("PERMISSION_DENIED", "UPSTREAM_PERMISSION_DENIED", "httpStatus 403", "swr:repo:listRepos")),
        ((answer(429, headers={"Retry-After": "1"}),), ("RESOURCE_EXHAUSTED", "try again after: 1 s")),
        ((answer(500),), ("INTERNAL", "UPSTREAM_INTERNAL", "quote the request id")),
        ((answer(503, headers={"X-Request-Id": "u-1"}),), ("UNAVAILABLE", "request id: ", ", upstream's u-1")),
        ((answer(302, headers={"Location": "/"}),), ("UPSTREAM_REDIRECT", "--upstream-url")),
        (
            (page("<html>"),),
            ("UPSTREAM_MALFORMED_RESPONSE", "detail: page at offset 0: JSON is malformed", "--dialect"),
        ),
        (
            (page('[{"size": "large"}]'),),
            ("detail: page at offset 0: row 0, field size: ", "its support has to mend it"),
        ),
        ((Act.RESET,), ("UPSTREAM_CONNECTION_LOST", "--upstream-url")),
        ((page("[]", {"X-Request-Id": "u-1"})[:-1], Act.CLOSE), ("UPSTREAM_CONNECTION_LOST", ", upstream's u-1")),
        ((Act.STALL,), ("UPSTREAM_TIMEOUT", "--attempt-timeout")),
    ],
    ids=["401", "403", "429", "500", "503", "302", "no list", "bad row", "reset", "cut off", "stall"],
)
async def test_a_failure_is_told_with_what_to_mend_after_one_request(
    script: Script, told: tuple[str, ...], upstream: ScriptedUpstream, run: Run
) -> None:
    upstream.play(script)
    limits = ("--retries", "3", "--attempt-timeout", "500ms") if Act.STALL in script else ("--retries", "3")
    ended = await call(run, upstream.url, "--auth", "aksk", *limits, **AKSK)
    assert_failed(ended, f"the upstream, {upstream.url}, with auth=aksk", *told)
    assert len(upstream.requests) == 1
    assert f'upstream_url = "{upstream.url}"' in ended.out.splitlines()


async def test_a_token_of_iam_that_the_upstream_refuses_is_not_renewed(upstream: ScriptedUpstream, run: Run) -> None:
    upstream.play(answer(401, '{"error_code":"APIGW.0301","error_msg":"the token expires"}'))
    token = json.dumps({"token": {"expires_at": "2999-01-01T00:00:00Z"}})
    async with scripted_upstream() as iam:
        iam.play(answer(201, token, {"X-Subject-Token": CANARY}))
        given = ("--auth", "iam", "--iam-url", iam.url, *IAM)
        ended = await call(run, upstream.url, *given, SWR_GATEWAY_IAM_PASSWORD=CANARY)
        assert len(iam.requests) == 1
    assert_failed(ended, f"the upstream, {upstream.url}, with auth=iam", "UNAUTHENTICATED", "--iam-project")
    assert [request.headers["x-auth-token"] for request in upstream.requests] == [CANARY]


async def test_iam_that_refuses_is_told_in_its_own_words(upstream: ScriptedUpstream, run: Run) -> None:
    async with scripted_upstream() as iam:
        iam.play(answer(401, f'{{"error":{{"code":401,"message":"wrong: {CANARY}","title":"Unauthorized"}}}}'))
        given = ("--auth", "iam", "--iam-url", iam.url, *IAM)
        ended = await call(run, upstream.url, *given, SWR_GATEWAY_IAM_PASSWORD=CANARY)
        assert len(iam.requests) == 1
        assert_failed(ended, f"IAM, {iam.url}, with auth=iam", "UNAUTHENTICATED: wrong: ", "SWR_GATEWAY_IAM_PASSWORD")
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ((answer(405),), ("INTERNAL: IAM does not accept", "not IAM's address: check --iam-url")),
        ((answer(404),), ("NOT_FOUND: IAM did not find", "not IAM's address: check --iam-url")),
        ((answer(200, "<html>"),), ("IAM's answer is not that of a token", "not IAM's address")),
        ((answer(503),), ("UNAVAILABLE: IAM is not available", "to IAM's support")),
        ((b"SSH-2.0\r\n\r\n",), ("IAM", "--iam-url has the right scheme and port", "not IAM")),
        ((Act.RESET,), ("before IAM had answered", "--iam-url has the right scheme and port")),
    ],
    ids=["405", "404", "no token", "503", "no HTTP", "reset"],
)
async def test_what_is_wrong_with_iam_is_not_said_of_the_upstream(
    script: Script, told: tuple[str, ...], upstream: ScriptedUpstream, run: Run
) -> None:
    async with scripted_upstream() as iam:
        iam.play(script)
        given = ("--auth", "iam", "--iam-url", iam.url, *IAM)
        ended = await call(run, upstream.url, *given, SWR_GATEWAY_IAM_PASSWORD=CANARY)
        assert_failed(ended, f"IAM, {iam.url}, with auth=iam", *told)
    assert not re.search("the upstream|--upstream-url|--dialect|SWR's", ended.err)


async def test_without_a_callers_token_nothing_is_sent(upstream: ScriptedUpstream, run: Run) -> None:
    ended = await call(run, upstream.url)
    assert_failed(ended, f"the upstream, {upstream.url}, with auth=passthrough", "CREDENTIAL_MISSING", "--caller-token")
    assert upstream.requests == []


@pytest.fixture
def nobody() -> Iterator[str]:
    """The URL of a port on which nobody listens."""
    with held_port() as port:
        yield f"http://127.0.0.1:{port}"


async def test_an_upstream_that_is_not_there_is_told(nobody: str, run: Run) -> None:
    ended = await call(run, nobody, "--auth", "none")
    told = ("UNAVAILABLE", "UPSTREAM_UNREACHABLE", "Connect call failed", "firewalls")
    assert_failed(ended, f"the upstream, {nobody}, with auth=none", *told)


async def test_a_name_server_that_does_not_answer_is_not_waited_for(run: Run, tmp_path: Path) -> None:
    limits = ("--timeout", "1s", "--attempt-timeout", "1s")
    url = "http://upstream.invalid"
    ended = await call(run, url, "--auth", "none", *limits, **without_name_server(tmp_path / "site"))
    assert_failed(ended, f"the upstream, {url}, with auth=none", "UPSTREAM_TIMEOUT")


async def test_an_upstream_that_is_not_trusted_is_told(run: Run) -> None:
    async with tls_upstream(issue("localhost")) as upstream:
        ended = await call(run, upstream.url, "--auth", "none")
    assert_failed(
        ended, f"the upstream, {upstream.url}, with auth=none", "INTERNAL", "UPSTREAM_TLS_UNTRUSTED", "--upstream-ca"
    )


async def test_who_interrupts_it_is_told_nothing(upstream: ScriptedUpstream, start: Start) -> None:
    upstream.play((Act.STALL,))
    command = await start("check-config", "--call", "--upstream-url", upstream.url, "--auth", "none")
    async with asyncio.timeout(PATIENCE):
        await upstream.all_arrived(1)
    command.signal(signal.SIGINT)
    ended = await command.ends()
    assert (ended.code, ended.err) == (130, "")


async def test_bad_settings_are_told_and_nobody_is_asked(upstream: ScriptedUpstream, run: Run) -> None:
    ended = await call(run, upstream.url, "--auth", "none", "--timeout", "soon")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: --timeout: ")
    assert upstream.requests == []


@pytest.mark.parametrize("arguments", [("--auth", "passthrough"), ("--auth", "none", "--call")])
async def test_a_callers_token_that_nothing_uses_is_refused(arguments: tuple[str, ...], run: Run) -> None:
    ended = await run("check-config", "--upstream-url", "http://127.0.0.1:9", *arguments, "--caller-token", CANARY)
    assert (ended.code, ended.out) == (2, "")
    assert "--caller-token goes with --call and auth=passthrough" in ended.err


async def test_a_callers_token_that_cannot_be_sent_is_refused_and_not_shown(
    upstream: ScriptedUpstream, run: Run
) -> None:
    ended = await call(run, upstream.url, "--caller-token", f"{CANARY} x")
    assert (ended.code, ended.out) == (2, "")
    assert "--caller-token must be visible ASCII without blanks" in ended.err
    assert CANARY not in ended.err
    assert upstream.requests == []


REASONS = {
    cause.reason for room in (errors, status) for cause in vars(room).values() if isinstance(cause, errors.Cause)
}


@pytest.mark.parametrize("is_of_iam", [False, True])
@pytest.mark.parametrize("auth", Auth)
def test_there_is_something_to_mend_for_every_reason(auth: Auth, is_of_iam: bool) -> None:
    assert len(REASONS) > 30
    for reason in REASONS:
        text = remedy(reason, auth, is_of_iam=is_of_iam)
        assert text
        assert "{" not in text
        assert not (is_of_iam and re.search("the upstream|--upstream-url|--dialect|SWR's API|one row", text))
