"""Whose rights a call has: what is shared or remembered for one caller is never given to another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.core.iam_messages import IssuedToken
from gateway.credentials.access_key import AccessKey, AccessKeySigner
from gateway.credentials.base import Credential
from gateway.credentials.iam_token import IamToken
from gateway.credentials.tokens import CallerToken, NoCredential, StaticToken, TokenFile
from gateway.metrics import Metrics

CANARY = "canary-4711"
MANY = ["", "a", "b", "A", "aa", "a" * 20_000, "a" * 19_999 + "b", CANARY]


def with_own(token: str, **more: str) -> dict[str, str]:
    return {"x-auth-token": token, **more}


@pytest.mark.parametrize("token", ["t", CANARY, "t" * 20_000], ids=["short", "usual", "long"])
def test_the_same_token_is_the_same_identity_whatever_else_comes_with_it(token: str) -> None:
    credential = CallerToken()
    first = credential.identity(with_own(token, **{"x-request-id": "1"}))
    assert credential.identity(with_own(token, **{"x-request-id": "2"})) == first
    assert credential.identity(with_own(token)) == first


def test_different_tokens_and_none_at_all_are_different_identities() -> None:
    credential = CallerToken()
    assert len({credential.identity(with_own(token)) for token in MANY}) == len(MANY)
    assert credential.identity({}) not in {credential.identity(with_own(token)) for token in MANY if token}


def test_an_identity_cannot_be_compared_with_that_of_another_process() -> None:
    assert CallerToken().identity(with_own(CANARY)) != CallerToken().identity(with_own(CANARY))


@pytest.mark.parametrize("token", [CANARY, "t", "t" * 20_000], ids=["usual", "short", "long"])
def test_an_identity_is_as_short_for_every_token_and_does_not_hold_it(token: str) -> None:
    identity = CallerToken().identity(with_own(token))
    assert len(identity) == 16
    assert identity[: len(token)] != token[:16].encode()
    assert CANARY.encode() not in identity


async def issue() -> IssuedToken:
    raise AssertionError("nobody signs in here")


async def announce(_: bool) -> None:
    raise AssertionError("nobody signs in here")


def put_token(folder: Path, token: str) -> None:
    """Put a token in its place at once, as secret mounts do."""
    (folder / "new").write_text(token, encoding="ascii")
    (folder / "new").replace(folder / "token")


def token_file(folder: Path) -> Credential:
    put_token(folder, CANARY)
    return TokenFile(folder / "token", Metrics())


OWN: list[Any] = [
    pytest.param(lambda _: NoCredential(), id="none"),
    pytest.param(lambda _: StaticToken(CANARY), id="token"),
    pytest.param(token_file, id="token file"),
    pytest.param(lambda _: AccessKeySigner(AccessKey("name", CANARY), "https://localhost"), id="aksk"),
    pytest.param(lambda _: IamToken(issue, announce, Metrics()), id="iam"),
]


@pytest.mark.parametrize("make", OWN)
def test_with_a_credential_of_the_gateways_own_all_callers_have_the_same_identity(
    make: Callable[[Path], Credential], tmp_path: Path
) -> None:
    credential = make(tmp_path)
    identities = {credential.identity(metadata) for metadata in ({}, with_own("a"), with_own("b", other="x"))}
    (identity,) = identities
    assert len(identity) == 16
    assert CANARY.encode() not in identity


def test_the_next_token_of_a_file_is_another_identity(tmp_path: Path) -> None:
    credential = token_file(tmp_path)
    first = credential.identity({})
    put_token(tmp_path, "next")
    assert len({first, credential.identity({}), bytes(16)}) == 3
    put_token(tmp_path, CANARY)
    assert credential.identity({}) == first


def test_a_credential_that_stays_the_same_has_an_identity_of_zeros() -> None:
    assert {one.identity(with_own("a")) for one in (NoCredential(), StaticToken(CANARY))} == {bytes(16)}
