from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.core.errors import GatewayError
from gateway.credentials.base import Credential
from gateway.credentials.tokens import CallerToken, NoCredential, StaticToken, TokenFile
from gateway.metrics import Metrics
from gateway.start_errors import BadFileError

CANARY = "canary-4711"

BAD_TOKENS = [
    pytest.param("", id="empty"),
    pytest.param(" ", id="only a blank"),
    pytest.param(f"{CANARY} b", id="blank inside"),
    pytest.param(f"{CANARY}\tb", id="tab inside"),
    pytest.param(f"{CANARY}\r\nX-Admin: 1", id="line break inside"),
    pytest.param(f"{CANARY}\x7f", id="control character"),
    pytest.param(f"{CANARY}é", id="not ASCII"),
]


async def token_of(credential: Credential, metadata: dict[str, str] | None = None) -> str:
    auth_headers = await credential.auth_headers("/v2/manage/repos", metadata or {})
    assert auth_headers.headers.keys() == {"X-Auth-Token"}
    assert auth_headers.secrets == (auth_headers.headers["X-Auth-Token"],)
    return auth_headers.headers["X-Auth-Token"]


async def reason_of(credential: Credential, metadata: dict[str, str] | None = None) -> str:
    with pytest.raises(GatewayError) as raised:
        await credential.auth_headers("/v2/manage/repos", metadata or {})
    assert CANARY not in f"{raised.value!r} {raised.value.message} {raised.value.__cause__!r}"
    return raised.value.cause.reason


async def test_no_credential_sends_nothing_not_even_the_callers_token() -> None:
    auth_headers = await NoCredential().auth_headers("/", {"x-auth-token": "callers"})
    assert (auth_headers.headers, auth_headers.secrets) == ({}, ())


@pytest.mark.parametrize("token", ["t", "MIIF+/=-_.~!", "t" * 20_000], ids=["short", "punctuation", "long"])
async def test_the_callers_token_is_sent_as_it_came(token: str) -> None:
    assert await token_of(CallerToken(), {"x-auth-token": token, "x-other": "other"}) == token


async def test_the_callers_token_is_of_one_call_only() -> None:
    credential = CallerToken()
    assert await token_of(credential, {"x-auth-token": "first"}) == "first"
    assert await token_of(credential, {"x-auth-token": "second"}) == "second"
    assert await reason_of(credential) == "CREDENTIAL_MISSING"


@pytest.mark.parametrize("token", BAD_TOKENS)
async def test_a_callers_token_that_no_header_can_hold_is_missing(token: str) -> None:
    assert await reason_of(CallerToken(), {"x-auth-token": token}) == "CREDENTIAL_MISSING"


async def test_the_static_token_is_sent_whatever_the_caller_has() -> None:
    credential = StaticToken("own")
    assert await token_of(credential) == "own"
    assert await token_of(credential, {"x-auth-token": "callers"}) == "own"


def token_file(path: Path) -> TokenFile:
    return TokenFile(path, Metrics())


def write(path: Path, text: str) -> None:
    if path.is_dir():
        path.rmdir()
    path.write_text(text, encoding="utf-8")


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    write(path, "first\n")
    return path


@pytest.mark.parametrize("content", ["first", "first\n", " first\r\n\n"])
async def test_the_token_files_token_is_sent_without_the_blanks_around_it(path: Path, content: str) -> None:
    write(path, content)
    assert await token_of(token_file(path), {"x-auth-token": "callers"}) == "first"


async def test_a_file_that_was_written_anew_is_read_again(path: Path) -> None:
    credential = token_file(path)
    assert await token_of(credential) == "first"
    write(path, "second-one")
    assert await token_of(credential) == "second-one"


async def test_a_file_that_was_replaced_is_read_again(path: Path) -> None:
    credential = token_file(path)
    assert await token_of(credential) == "first"
    new = path.with_suffix(".new")
    new.write_text("other\n", encoding="ascii")
    new.replace(path)
    assert await token_of(credential) == "other"


async def test_a_mounted_secret_whose_folder_was_swapped_is_read_again(tmp_path: Path) -> None:
    """As Kubernetes does it: `token` points into `..data`, which points to a folder and is replaced as a whole."""
    for version, token in (("..1", "first"), ("..2", "other")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "token").write_text(token, encoding="ascii")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "token").symlink_to("..data/token")
    credential = token_file(tmp_path / "token")
    assert await token_of(credential) == "first"
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    assert await token_of(credential) == "other"


async def test_a_rejected_token_of_a_file_is_replaced_only_by_another_one_that_is_in_it(path: Path) -> None:
    credential = token_file(path)
    rejected = await credential.auth_headers("/", {})
    assert await credential.renew(rejected) is None
    write(path, "first\r\n")
    assert await credential.renew(rejected) is None
    write(path, "second-one")
    renewed = await credential.renew(rejected)
    assert renewed is not None
    assert renewed.headers == {"X-Auth-Token": "second-one"}
    assert await credential.renew(renewed) is None


@pytest.mark.parametrize(
    "credential", [StaticToken("t"), CallerToken(), NoCredential()], ids=lambda one: type(one).__name__
)
async def test_there_is_nothing_to_replace_other_tokens_by(credential: Credential) -> None:
    assert await credential.renew(await credential.auth_headers("/", {"x-auth-token": "t"})) is None


spoilt = pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(Path.unlink, id="gone"),
        pytest.param(become_folder, id="a folder"),
        pytest.param(lambda path: write(path, ""), id="emptied"),
        pytest.param(lambda path: write(path, " \n"), id="blank"),
        pytest.param(lambda path: write(path, f"{CANARY} and more"), id="two words"),
        pytest.param(lambda path: write(path, f"{CANARY}\nand more"), id="two lines"),
        pytest.param(lambda path: write(path, f"{CANARY}é"), id="not ASCII"),
    ],
)
Spoil = Callable[[Path], object]


@spoilt
async def test_a_file_without_a_token_keeps_the_last_good_one_until_there_is_a_new_one(
    path: Path, spoil: Spoil
) -> None:
    credential = token_file(path)
    assert await token_of(credential) == "first"
    spoil(path)
    assert await token_of(credential) == "first"
    assert await token_of(credential) == "first"
    write(path, "second-one")
    assert await token_of(credential) == "second-one"


@spoilt
def test_without_any_token_at_first_there_is_no_credential(path: Path, spoil: Spoil) -> None:
    spoil(path)
    with pytest.raises(BadFileError) as raised:
        token_file(path)
    assert raised.value.path == path
    assert CANARY not in f"{raised.value!r} {raised.value} {raised.value.__cause__!r}"


@spoilt
async def test_the_log_names_the_file_and_never_what_it_holds(
    path: Path, spoil: Spoil, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    credential = token_file(path)
    spoil(path)
    await token_of(credential)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert str(path) in caplog.text
    assert CANARY not in caplog.text


async def test_trouble_is_logged_once_not_for_every_call(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    credential = token_file(path)
    await token_of(credential)
    become_folder(path)
    for _ in range(10):
        await token_of(credential)
    assert len(caplog.records) == 1


async def test_nothing_is_logged_while_all_is_well(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await token_of(token_file(path))
    await token_of(StaticToken(CANARY))
    await token_of(CallerToken(), {"x-auth-token": CANARY})
    assert caplog.records == []


async def test_no_repr_shows_the_token(path: Path) -> None:
    write(path, CANARY)
    from_file = token_file(path)
    assert await token_of(from_file) == CANARY
    for credential in (from_file, StaticToken(CANARY)):
        assert CANARY not in f"{credential!r} {credential}"
