"""Secrets that change in the settings file of a running gateway: used from then on, without a call that fails."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest

from certificates import CA, Folder, Mount, pem_of
from conftest import PLAIN
from gateway.credentials import iam_token
from gateway.files import watch
from gateway.server.gateway import Gateway
from gateway.settings.load import load_settings
from gateway.settings.settings_file import Loaded
from gateway.simulator.access import Access, Authenticator
from gateway.simulator.app import make_app, running
from gateway.simulator.data import default_repositories
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from patience import HOUR, until
from scripted_upstream import ScriptedUpstream, answer, scripted_upstream

CANARY = "canary-4711"
FIRST = 'access_key = "AK1"\nsecret_key = "SK1"\n'
SECOND = f'access_key = "AK2"\nsecret_key = "{CANARY}"\n'
AKSK = {"auth": "aksk"}
TOKEN = {"auth": "token"}


@dataclass
class Rotating:
    """A gateway with a settings file."""

    gateway: Gateway
    files: Folder
    stub: Any

    async def put(self, text: str) -> None:
        """Change the file, and have it read as SIGHUP does."""
        self.files.put(settings=text.encode())
        await self.gateway.read_files()

    async def call(self) -> None:
        await self.stub.ListRepos(repos_pb2.ListReposRequest())

    def metric(self, name: str, **labels: str) -> float | None:
        return self.gateway._metrics.registry.get_sample_value(f"swr_gateway_{name}", labels)


ServeFile: TypeAlias = Callable[..., Awaitable[Rotating]]


@pytest.fixture
async def serve_file(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncIterator[ServeFile]:
    """Start gateways whose file holds a text."""
    async with AsyncExitStack() as stack:

        async def start(text: str, *, kind: type[Folder] = Folder, found: str | None = None, **flags: Any) -> Rotating:
            """Start one; it finds another text in the file than it was loaded from, where there is one."""
            files = kind(tmp_path / "files", settings=text.encode())
            given = {"upstream_url": upstream.url} | PLAIN | flags
            given = {name: value for name, value in given.items() if (name, value) != ("auth", None)}
            loaded = Loaded(load_settings(given, files.path("settings")), given, files.path("settings"))
            if found is not None:
                files.put(settings=found.encode())
            gateway = await stack.enter_async_context(Gateway(loaded.settings, loaded=loaded))
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(gateway.addresses[0]))
            return Rotating(gateway, files, RepoServiceStub(channel))

        yield start


def key_of(upstream: ScriptedUpstream) -> str:
    """Return which key signed the latest request."""
    return upstream.requests[-1].headers["authorization"].partition("Access=")[2].partition(",")[0]


@pytest.mark.parametrize("kind", [Folder, Mount], ids=["replaced", "swapped as a mount"])
async def test_the_next_request_is_signed_with_the_next_key(
    serve_file: ServeFile, upstream: ScriptedUpstream, kind: type[Folder]
) -> None:
    served = await serve_file(FIRST, kind=kind, **AKSK)
    await served.call()
    assert key_of(upstream) == "AK1"
    await served.put(SECOND + 'security_token = "ST2"\n')
    await served.call()
    assert key_of(upstream) == "AK2"
    assert upstream.requests[-1].headers["x-security-token"] == "ST2"
    await served.put(FIRST)
    await served.call()
    assert key_of(upstream) == "AK1"
    assert "x-security-token" not in upstream.requests[-1].headers
    assert served.metric("file_reloads_total", what="settings_file", result="ok") == 2


async def test_a_key_is_used_although_nobody_tells_of_it(
    serve_file: ServeFile, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOK_EVERY", 0.01)
    served = await serve_file(FIRST, **AKSK)
    served.files.put(settings=SECOND.encode())

    async def is_used() -> bool:
        await served.call()
        return key_of(upstream) == "AK2"

    await until(is_used)


async def test_the_next_token_is_sent(serve_file: ServeFile, upstream: ScriptedUpstream) -> None:
    served = await serve_file('token = "first"', **TOKEN)
    for token in ("first", "second"):
        await served.put(f'token = "{token}"')
        await served.call()
        assert upstream.requests[-1].headers["x-auth-token"] == token


@pytest.mark.parametrize(
    ("first", "second", "auth"),
    [('token = "first"', 'token = "second"', TOKEN), (FIRST, SECOND, AKSK)],
    ids=["token", "access key"],
)
async def test_what_one_secret_was_shown_another_is_not_given_from_the_cache(
    serve_file: ServeFile, upstream: ScriptedUpstream, first: str, second: str, auth: dict[str, str]
) -> None:
    served = await serve_file(first, cache_ttl="1h", **auth)
    for text, requests in ((first, 1), (second, 2), (second, 2)):
        await served.put(text)
        await served.call()
        assert len(upstream.requests) == requests


# IAM


def issued(token: str) -> bytes:
    body = json.dumps({"token": {"issued_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-02T00:00:00Z"}})
    return answer(201, body, {"X-Subject-Token": token})


@pytest.fixture
async def iam() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream() as iam:
        iam.play(issued("first"), issued("second"))
        yield iam


async def test_with_another_password_a_token_is_asked_for_at_once(
    serve_file: ServeFile, upstream: ScriptedUpstream, iam: ScriptedUpstream
) -> None:
    user = {"iam_username": "u", "iam_domain": "d", "iam_project": "p"}
    served = await serve_file('iam_password = "old"', auth="iam", iam_url=iam.url, **user)
    await served.call()
    await served.put('iam_password = "new"')
    await until(lambda: served.metric("token_renewals_total", result="ok") == 2)
    await served.call()
    assert [request.headers["x-auth-token"] for request in upstream.requests] == ["first", "second"]


async def test_another_password_ends_the_wait_after_a_refused_one(
    serve_file: ServeFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(iam_token, "FIRST_WAIT_REFUSED", HOUR)
    monkeypatch.setattr(iam_token, "MAX_WAIT", HOUR)
    door = Authenticator(Access(username="u", password="new"))
    async with running(make_app(default_repositories(3), authenticator=door)) as url:
        given = {"auth": "iam", "iam_username": "u", "iam_domain": "d", "iam_project": "p"}
        served = await serve_file('iam_password = "old"', upstream_url=url, iam_url=url, **given)
        await until(lambda: "no token from IAM" in caplog.text)
        await served.put('iam_password = "new"')
        await until(lambda: served.metric("token_renewals_total", result="ok") == 1)
        await served.call()


# What is not put to use


async def test_what_needs_a_restart_is_told_by_name_and_never_by_value(
    serve_file: ServeFile, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    served = await serve_file(FIRST, **AKSK)
    await served.put(f'{SECOND}project_id = "{CANARY}"\nmax_queue = 7\ntoken = "{CANARY}"\n')
    assert caplog.messages[-4:] == [
        "settings_file: in use from now on: access_key, secret_key",
        "settings_file: needs a restart: project_id, max_queue",
        "settings_file: read again",
        "SIGHUP: read again: settings_file; needs a restart: project_id, max_queue",
    ]
    await served.gateway.read_files()
    assert caplog.messages[-1] == "SIGHUP: unchanged: settings_file; needs a restart: project_id, max_queue"
    await served.put(SECOND)
    assert caplog.messages[-1] == "SIGHUP: read again: settings_file"
    await served.call()
    assert key_of(upstream) == "AK2"
    assert CANARY not in caplog.text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param('auth = "aksk"\n', "access_key, secret_key", id="no key"),
        pytest.param('auth = "none"\n', "auth, access_key, secret_key", id="another way"),
    ],
)
async def test_secrets_that_do_not_do_for_the_running_gateway_are_not_put_to_use(
    serve_file: ServeFile, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture, text: str, named: str
) -> None:
    served = await serve_file(f'auth = "aksk"\n{FIRST}', auth=None)
    await served.put(text)
    assert caplog.messages[-1].endswith(f"; needs a restart: {named}")
    await served.call()
    assert key_of(upstream) == "AK1"


async def test_a_token_in_the_file_is_not_put_to_use_where_another_file_has_it(
    serve_file: ServeFile, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "token"
    path.write_text("first")
    served = await serve_file(f'token_file = "{path}"', **TOKEN)
    await served.put('token = "second"')
    assert "in use from now on" not in caplog.text
    told = "SIGHUP: read again: settings_file; unchanged: token_file; needs a restart: token, token_file"
    assert caplog.messages[-1] == told
    await served.call()
    assert upstream.requests[-1].headers["x-auth-token"] == "first"


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(f'secret_key = "{CANARY}', id="no TOML"),
        pytest.param('access_key = "AK2"', id="an access key without its secret key"),
        pytest.param(f'secret_key = "{CANARY}"', id="a secret key without its access key"),
        pytest.param(f'{SECOND}secret_kye = "{CANARY}"', id="no such setting"),
        pytest.param(f'access_key = "AK2"\nsecret_key = "{CANARY} two"', id="no header"),
        pytest.param(f'{SECOND}max_queue = "{CANARY}"', id="a bad setting beside it"),
    ],
)
async def test_a_file_that_cannot_be_used_changes_nothing_and_is_told_without_its_secrets(
    serve_file: ServeFile, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture, bad: str
) -> None:
    caplog.set_level(logging.DEBUG)
    served = await serve_file(FIRST, **AKSK)
    await served.put(bad)
    assert caplog.messages[-1] == "SIGHUP: cannot be used, the last good one stays in use: settings_file"
    assert caplog.messages[-2].startswith("settings_file: ")
    assert served.metric("file_stale", what="settings_file") == 1
    assert CANARY not in caplog.text
    await served.call()
    assert key_of(upstream) == "AK1"
    await served.put(SECOND)
    assert served.metric("file_stale", what="settings_file") == 0
    await served.call()
    assert key_of(upstream) == "AK2"


async def test_a_certificate_that_cannot_be_used_does_not_keep_a_key_from_being_used(
    serve_file: ServeFile, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    authorities = tmp_path / "ca.pem"
    authorities.write_bytes(pem_of(CA))
    served = await serve_file(FIRST, upstream_ca=str(authorities), **AKSK)
    authorities.unlink()
    await served.put(SECOND)
    await served.call()
    assert key_of(upstream) == "AK2"


# Workers that take the place of others


async def test_who_starts_later_uses_what_the_file_holds_by_then(
    serve_file: ServeFile, upstream: ScriptedUpstream
) -> None:
    served = await serve_file(FIRST, found=SECOND, **AKSK)
    await served.call()
    assert key_of(upstream) == "AK2"


async def test_who_starts_later_and_finds_a_bad_file_uses_what_was_good(
    serve_file: ServeFile, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    served = await serve_file(FIRST, found="access_key", **AKSK)
    assert "the last good one stays in use" in caplog.text
    await served.call()
    assert key_of(upstream) == "AK1"
    await served.put(SECOND)
    await served.call()
    assert key_of(upstream) == "AK2"
