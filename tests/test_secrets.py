"""No secret shows: whatever an upstream does, in no log line, metric, status, trailer, setting or traceback."""

from __future__ import annotations

import asyncio
import base64
import logging
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from commands import Run
from conftest import OPERATED, Serve, Served
from gateway.settings.model import SECRETS
from gateway.simulator.access import Access, Authenticator
from gateway.simulator.app import make_app, running
from gateway.swr.v1 import repos_pb2
from patience import HOUR, Advance
from scripted_upstream import Act, Request, Script, ScriptedUpstream, answer, page

CANARY = "canary-4711"
CALLERS_OWN = (("x-auth-token", CANARY),)
JSON = {"Content-Type": "application/json"}


def shown(request: Request) -> str:
    """All that the upstream knows of the credential."""
    wanted = ("authorization", "x-auth-token", "x-security-token")
    return " ".join(value for name, value in request.headers.items() if name in wanted)


def echo(status: int, body: str, **headers: str) -> Callable[[Request], bytes]:
    """Repeat the credential, wherever `{}` stands."""

    def reply(request: Request) -> bytes:
        known = shown(request)
        return answer(status, body.replace("{}", known), {name: text.format(known) for name, text in headers.items()})

    return reply


ERRORS = (
    '[{"errorCode":"SVCSTG.SWR.4001048","errorMessage":"bad {}","detail":"{}"}]',
    '{"errors":[{"errorCode":"{}","errorMessage":"bad {}"}]}',
    '{"errorCode":"{}","errorMsg":"{}"}',
    '{"error_code":"APIGW.0301","error_msg":"decrypt token fail: {}","request_id":"{}"}',
    '{"error":{"code":401,"message":"the token {} has expired","title":"{}"}}',
    '{"errors":[{"code":"{}","message":"{}"}]}',
    "<html><body>{}</body></html>",
    "{}",
)
FAULTS: list[Any] = [
    *(
        pytest.param((echo(status, body),), id=f"{status}-{body[:14]}")
        for status in (400, 401, 403, 500)
        for body in ERRORS
    ),
    pytest.param((echo(302, "{}", Location="http://localhost:1/{}"),), id="redirect"),
    pytest.param((echo(429, "{}", **{"Retry-After": "{}", "X-Request-Id": CANARY}),), id="headers"),
    pytest.param((echo(200, "{}", **JSON, **{"X-Request-Id": "{}"}),), id="not JSON"),
    pytest.param((echo(200, '{"token":"{}"}', **JSON),), id="an object"),
    pytest.param((echo(200, '[{"size":"{}"}]', **JSON),), id="of another type"),
    pytest.param((echo(200, "[]", **JSON, **{"Content-Encoding": "{}"}),), id="encoding"),
    pytest.param((echo(200, "[]", **JSON, **{"Content-Range": "{}"}),), id="content range"),
    pytest.param((lambda request: f"HTTP/1.1 {shown(request)}\r\n\r\n".encode(),), id="status line"),
    pytest.param((lambda request: shown(request).encode(), Act.CLOSE), id="not HTTP"),
    pytest.param((Act.RESET,), id="reset"),
    pytest.param((Act.STALL,), id="stall"),
    pytest.param((page("[]"),), id="a page"),
]
MODES: list[Any] = [
    pytest.param({"auth": "passthrough"}, id="passthrough"),
    pytest.param({"auth": "token", "token": CANARY}, id="token"),
    pytest.param({"auth": "token", "token_file": "{folder}/token"}, id="token file"),
    pytest.param({"auth": "aksk", "access_key": CANARY, "secret_key": CANARY, "security_token": CANARY}, id="aksk"),
]


async def all_that_is_said(served: Served) -> str:
    """Call both methods; return what the caller and the operator are told."""
    said = []
    listed = served.stub.ListRepos(repos_pb2.ListReposRequest(), metadata=CALLERS_OWN)
    streamed = served.stub.StreamRepos(repos_pb2.StreamReposRequest(), metadata=CALLERS_OWN)
    for call in (listed, streamed):
        with suppress(grpc.RpcError):
            said += [str(message) async for message in streamed] if call is streamed else [str(await listed)]
        said += [str(await call.code()), str(await call.details())]
        said += [str(pair) for pair in [*(await call.initial_metadata()), *(await call.trailing_metadata())]]
    return "\n".join([*said, *map(str, await served.ask("/metrics"))])


@pytest.mark.parametrize("given", MODES)
@pytest.mark.parametrize("script", FAULTS)
async def test_no_fault_of_the_upstream_shows_the_credential(
    serve: Serve,
    script: Script,
    given: dict[str, str],
    upstream: ScriptedUpstream,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    advance: Advance,
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "token").write_text(CANARY)
    given = {name: value.format(folder=tmp_path) for name, value in given.items()}
    upstream.play(script)
    served = await serve(attempt_timeout="1h", **OPERATED, **given)
    asking = asyncio.create_task(all_that_is_said(served))
    if Act.STALL in script:
        await upstream.all_arrived(2)
        advance(HOUR)
    said = await asking
    await served.drain()
    assert CANARY in shown(upstream.requests[0])
    assert "swr_gateway_" in said
    assert CANARY not in said
    assert CANARY not in caplog.text


SPELLINGS: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "percent-encoded": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "percent-encoded twice": lambda text: "".join(f"%25{byte:02x}" for byte in text.encode()),
    "base64": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
}


@pytest.mark.parametrize("given", MODES)
@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
async def test_no_other_spelling_of_the_credential_shows(
    serve: Serve,
    spell: Callable[[str], str],
    given: dict[str, str],
    upstream: ScriptedUpstream,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "token").write_text(CANARY)
    given = {name: value.format(folder=tmp_path) for name, value in given.items()}
    spelled = spell(CANARY)
    body = f'{{"error_code":"{CANARY.upper()}","error_msg":"no such token: {spelled}!","request_id":"{spelled}"}}'
    upstream.play((answer(403, body, {"X-Request-Id": spelled}),))
    served = await serve(**OPERATED, **given)
    said = await all_that_is_said(served)
    await served.drain()
    assert "no such token: ***!" in said
    for secret in (spelled, CANARY.upper()):
        assert secret not in said
        assert secret not in caplog.text


@pytest.mark.parametrize("password", [CANARY, "wrong-" + CANARY], ids=["right", "wrong"])
async def test_iam_shows_neither_the_password_nor_the_token(
    serve: Serve, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    authenticator = Authenticator(Access(username="user", password=CANARY))
    async with running(make_app((), authenticator=authenticator)) as url:
        user = {"iam_username": "user", "iam_password": password, "iam_domain": "domain", "iam_project": "project"}
        served = await serve(upstream_url=url, auth="iam", iam_url=url, **user, **OPERATED)
        said = await all_that_is_said(served) + caplog.text
    for secret in (CANARY, *authenticator._issued):
        assert secret not in said
    assert ("StatusCode.UNAVAILABLE" in said) == (password != CANARY)


@pytest.mark.parametrize("command", ["serve", "check-config"])
async def test_bad_settings_show_no_secret(command: str, run: Run) -> None:
    variables = {f"SWR_GATEWAY_{name.upper()}": f"{CANARY} \n" for name in SECRETS}
    ended = await run(command, "--auth", "aksk", "--region", "cn-north-4", **variables)
    assert ended.code == 2
    assert "SWR_GATEWAY_SECRET_KEY" in ended.err
    assert CANARY not in ended.out + ended.err


CRASH = """
import sys
from gateway.cli.main import main
from gateway.server.gateway import Gateway

def crash(self, *arguments):
    raise RuntimeError("on purpose")

Gateway._add_services = crash
sys.argv = ["swr-gateway", "serve", "--upstream-url", "http://127.0.0.1:1", "--auth", "aksk", "--log-level", "debug"]
main()
"""


async def test_a_crash_shows_no_secret() -> None:
    variables = {f"SWR_GATEWAY_{name.upper()}": CANARY for name in SECRETS}
    environment = {**variables, "SWR_GATEWAY_ADMIN_LISTEN": ""}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "faulthandler", "-c", CRASH, stdout=PIPE, stderr=PIPE, env=environment
    )
    out, err = await process.communicate()
    assert b"RuntimeError: on purpose" in err
    assert CANARY.encode() not in out + err
