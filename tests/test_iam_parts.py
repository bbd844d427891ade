"""The parts of signing in by IAM: its messages, when a token is renewed, and the task that keeps one fresh."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import GATEWAY_INTERNAL, UPSTREAM_MALFORMED_RESPONSE, UPSTREAM_TIMEOUT, GatewayError
from gateway.core.iam_messages import IamUser, IssuedToken, describe, is_refusal, read_issued_token
from gateway.core.status import read_error
from gateway.credentials import iam_token as credentials
from gateway.credentials.iam_token import IamToken, renewal_delay, retry_delay
from gateway.metrics import Metrics
from gateway.upstream.iam_client import IamClient
from gateway.upstream.tls import UpstreamTls

USER = IamUser("robot", "canary pass\"word'|镜", "acme", "cn-north-4")
DAY = 86400.0
NOON, MIDNIGHT = "2026-01-01T12:00:00.500000Z", "2026-01-02T00:00:00.000000Z"
NOON_SECONDS = 1767268800.5

# What is asked and read


def test_the_request_is_that_of_the_reference() -> None:
    body = json.loads(USER.request())
    user = {"name": "robot", "password": USER.password, "domain": {"name": "acme"}}
    assert body == {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": "cn-north-4"}},
        }
    }


def told(**token: object) -> bytes:
    return json.dumps({"token": {"methods": ["password"], "catalog": [{}], **token}}).encode()


@pytest.mark.parametrize(
    ("body", "now", "life"),
    [
        pytest.param(told(expires_at=MIDNIGHT, issued_at=NOON), NOON_SECONDS, 43199.5, id="both times"),
        pytest.param(told(expires_at=MIDNIGHT, issued_at=NOON), 0.0, 43199.5, id="our clock is behind"),
        pytest.param(told(expires_at=MIDNIGHT, issued_at=NOON), 4e9, 43199.5, id="our clock is ahead"),
        pytest.param(told(expires_at=MIDNIGHT), NOON_SECONDS + 60, 43139.5, id="no issued_at"),
        pytest.param(told(expires_at=MIDNIGHT, issued_at="soon"), NOON_SECONDS, 43199.5, id="unreadable issued_at"),
        pytest.param(told(expires_at=MIDNIGHT, issued_at=None), NOON_SECONDS, 43199.5, id="issued_at of null"),
        pytest.param(told(expires_at=MIDNIGHT, issued_at=7), NOON_SECONDS, 43199.5, id="issued_at that is no text"),
        pytest.param(told(expires_at=MIDNIGHT, user="cut \ud83d"), NOON_SECONDS, 43199.5, id="half a surrogate pair"),
        pytest.param(told(expires_at="2026-01-02T08:00:00+08:00", issued_at=NOON), 0.0, 43199.5, id="another zone"),
    ],
)
def test_the_life_of_a_token_is_reckoned_by_iams_clock(body: bytes, now: float, life: float) -> None:
    token = read_issued_token("tok", body, now)
    assert (token.value, token.life, token.expires_at) == ("tok", life, NOON_SECONDS + 43199.5)


@pytest.mark.parametrize(
    ("value", "body", "words"),
    [
        pytest.param("tok", b"", "not that of a token", id="empty"),
        pytest.param("tok", b"<html>", "not that of a token", id="HTML"),
        pytest.param("tok", b"[]", "not that of a token", id="a list"),
        pytest.param("tok", b'{"token": {"catalog": ' + b"[" * 100_000, "not that of a token", id="deep"),
        pytest.param("tok", b'{"token": null}', "not that of a token", id="no token"),
        pytest.param("tok", told(issued_at=NOON), "not that of a token", id="no end"),
        pytest.param("tok", told(expires_at=7), "not that of a token", id="a number as its end"),
        pytest.param("tok", told(expires_at=MIDNIGHT)[:-9], "not that of a token", id="cut off"),
        pytest.param("tok", told(expires_at="tomorrow"), "or not when it ends", id="unreadable end"),
        pytest.param("", told(expires_at=MIDNIGHT), "has no token", id="empty value"),
        pytest.param("to k", told(expires_at=MIDNIGHT), "has no token", id="blank inside"),
        pytest.param("tök", told(expires_at=MIDNIGHT), "has no token", id="not ASCII"),
        pytest.param("tok", told(expires_at=NOON), "compare this machine's clock", id="past its end"),
        pytest.param("tok", told(expires_at=NOON, issued_at=NOON), "past its end already", id="no life at all"),
    ],
)
def test_an_answer_without_a_living_token_is_malformed(value: str, body: bytes, words: str) -> None:
    with pytest.raises(GatewayError, match="MALFORMED") as raised:
        read_issued_token(value, body, NOON_SECONDS)
    assert raised.value.cause is UPSTREAM_MALFORMED_RESPONSE
    assert words in raised.value.message


@pytest.mark.parametrize(
    ("status", "refused"),
    [
        *((400, True), (401, True), (403, True), (404, True), (499, True)),
        *((0, False), (302, False), (408, False), (425, False), (429, False), (500, False), (503, False)),
    ],
)
def test_iam_refuses_by_the_statuses_that_a_new_try_does_not_help(status: int, refused: bool) -> None:
    error = read_error(status, b"") if status else GatewayError(GATEWAY_INTERNAL)
    assert is_refusal(error) == refused


@pytest.mark.parametrize(
    ("error", "told"),
    [
        pytest.param(read_error(401, b'{"error":{"message":"no such user"}}'), "no such user", id="IAM's own words"),
        pytest.param(read_error(401, b'{"message":"ask the upstream"}'), "ask the upstream", id="words like ours"),
        pytest.param(read_error(401, b""), "IAM refused the credential", id="no words"),
        pytest.param(GatewayError(UPSTREAM_TIMEOUT), "IAM did not answer in time", id="no answer"),
        pytest.param(read_error(404, b'{"error_code":"APIGW.0101"}'), "check the URL of IAM", id="no such API"),
    ],
)
def test_what_is_wrong_with_iam_is_not_said_of_the_upstream(error: GatewayError, told: str) -> None:
    assert describe(error).endswith(told)


@given(st.floats(1.0, 1e7))
def test_a_token_is_renewed_between_75_and_85_percent_of_its_life(life: float) -> None:
    delays = [renewal_delay(life) for _ in range(50)]
    assert 0.7499 * life <= min(delays)
    assert max(delays) <= 0.8501 * life


def test_however_short_a_token_lives_it_is_not_renewed_without_a_pause() -> None:
    assert renewal_delay(0.001) == 0.5


@given(st.integers(0, 100_000), st.booleans())
def test_the_wait_after_failures_doubles_up_to_half_a_minute_or_five(failures: int, refused: bool) -> None:
    first, longest = (60, 300) if refused else (1, 30)
    whole = min(first * 2 ** min(failures, 20), longest)
    delays = [retry_delay(failures, refused=refused) for _ in range(50)]
    assert whole / 2 <= min(delays)
    assert max(delays) <= whole


@pytest.mark.parametrize("draw", [lambda: renewal_delay(1.0), lambda: retry_delay(0, refused=False)])
def test_gateways_that_started_together_drift_apart(draw: Callable[[], float]) -> None:
    assert len({draw() for _ in range(20)}) > 10


# The task that keeps one fresh


def answering(*answers: IssuedToken | Exception) -> Callable[[], Awaitable[IssuedToken]]:
    left = iter(answers)

    async def fetch() -> IssuedToken:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return fetch


async def test_a_bug_is_logged_and_the_next_try_comes_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(credentials, "FIRST_WAIT", 0.01)
    announced: asyncio.Queue[bool] = asyncio.Queue()
    metrics = Metrics()
    fetch = answering(RuntimeError("a bug"), IssuedToken("tok", DAY, 0.0))
    async with IamToken(fetch, announced.put, metrics) as credential:
        assert [await announced.get() for _ in range(2)] == [False, True]
        assert (await credential.auth_headers("", {})).headers == {"X-Auth-Token": "tok"}
    assert "Traceback" in caplog.text
    assert "RuntimeError: a bug" in caplog.text
    counted = metrics.registry.get_sample_value("swr_gateway_token_renewals_total", {"result": "GATEWAY_INTERNAL"})
    assert counted == 1


async def test_each_failure_in_a_row_doubles_the_wait_and_a_token_ends_the_row(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = 0.01
    monkeypatch.setattr(credentials, "FIRST_WAIT", first)
    announced: asyncio.Queue[bool] = asyncio.Queue()
    failure, short, long = GatewayError(UPSTREAM_TIMEOUT), IssuedToken("a", 0.001, 0.0), IssuedToken("b", DAY, 0.0)
    held = 0
    async with IamToken(answering(*[failure] * 4, short, failure, long), announced.put, Metrics()):
        while held < 2:
            held += await announced.get()
    waits = [args[5] for record in caplog.records if isinstance(args := record.args, tuple) and len(args) > 5]
    for wait, whole in zip(waits, (first, 2 * first, 4 * first, 8 * first, first), strict=True):
        assert isinstance(wait, float)
        assert whole / 2 <= wait <= whole


async def test_leaving_ends_the_task_while_it_sleeps_and_while_it_fetches() -> None:
    announced: asyncio.Queue[bool] = asyncio.Queue()
    fetching, ended = asyncio.Event(), asyncio.Event()

    async def never() -> IssuedToken:
        fetching.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    before = asyncio.all_tasks()
    async with IamToken(answering(IssuedToken("tok", DAY, 0.0)), announced.put, Metrics()):
        assert [await announced.get() for _ in range(2)] == [False, True]
        assert len(asyncio.all_tasks()) == len(before) + 1
    assert asyncio.all_tasks() == before
    async with IamToken(never, announced.put, Metrics()):
        await fetching.wait()
    assert ended.is_set()
    assert asyncio.all_tasks() == before


async def test_nothing_that_holds_a_secret_shows_it() -> None:
    token = IssuedToken("canary-1", DAY, 0.0)
    client = IamClient("https://iam", USER, UpstreamTls(None, None, Metrics()))
    async with IamToken(answering(token), asyncio.Queue[bool]().put, Metrics()) as credential:
        auth_headers = await credential.auth_headers("", {})
        assert auth_headers.secrets == ("canary-1",)
        assert "canary" not in f"{USER!r} {client!r} {token!r} {credential!r} {auth_headers!r}"
