"""Secrets in texts of others, in all the spellings that an upstream may give them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.masking import mask, shows

SECRET = "MIIC+t0ken/with=odd~signs"
PASSWORD = "pass word 密码!"


def percent(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


SPELLINGS: dict[str, Callable[[str], str]] = {
    "verbatim": str,
    "upper case": lambda text: text.encode().upper().decode(),
    "lower case": lambda text: text.encode().lower().decode(),
    "percent-encoded": lambda text: quote(text, safe=""),
    "percent-encoded in lower case": lambda text: quote(text, safe="").lower(),
    "every character percent-encoded": percent,
    "percent-encoded in part": lambda text: text[:4] + percent(text[4:]),
    "percent-encoded twice": lambda text: quote(quote(text, safe=""), safe=""),
    "as forms have it": quote_plus,
    "base64": in_base64,
    "base64 without its end": lambda text: in_base64(text).rstrip("="),
    "base64 behind a name": lambda text: in_base64(f"user:{text}"),
    "base64 behind a longer name": lambda text: in_base64(f"users:{text}"),
    "base64 before something": lambda text: in_base64(f"u:{text}@host"),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(f">>>{text}???".encode()).decode(),
    "base64, percent-encoded": lambda text: quote(in_base64(f"a:{text}"), safe=""),
}


@pytest.mark.parametrize("secret", [SECRET, PASSWORD], ids=["token", "password"])
@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_a_secret_is_masked_however_it_is_spelled(spell: Callable[[str], str], secret: str) -> None:
    spelled = spell(secret)
    assert mask(f"token: {spelled}, bad 令牌", (secret,)) == "token: ***, bad 令牌"
    assert mask(spelled, (secret,)) == "***"
    assert mask(f"{spelled} is not {spelled}", ("other-secret", secret)) == "*** is not ***"
    assert shows(f"token: {spelled}.", (secret,))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "100% of it",
        "%",
        "%4",
        "%zz %2",
        "a%20b",
        "dG9rZW4=",
        "half a pair \ud83d",
        SECRET[:-1],
        SECRET[1:],
        "令牌 🐬",
    ],
)
def test_what_holds_no_secret_stays_as_it_is(text: str) -> None:
    assert mask(text, (SECRET, PASSWORD)) == text
    assert not shows(text, (SECRET, PASSWORD))


def test_of_a_few_characters_is_no_secret() -> None:
    assert mask("abcde", ("abcde", "")) == "abcde"


def test_secrets_that_overlap_leave_nothing_of_either() -> None:
    assert mask("x secret-one-two x", ("secret-one", "one-two", "secret")) == "x *** x"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(
    TEXTS, TEXTS, st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6), st.sampled_from([*SPELLINGS])
)
def test_no_surroundings_hide_a_secret(before: str, behind: str, secret: str, spelling: str) -> None:
    spelled = SPELLINGS[spelling](secret)
    text = f"{before} {spelled} {behind}"
    assert shows(text, (secret,))
    masked = mask(text, (secret,))
    assert not shows(masked, (secret,)) or shows(f"{before} *** {behind}", (secret,))
    assert "***" in masked
