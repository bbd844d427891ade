"""The page for people on the operators' address: what it tells, what it never shows, and that nothing in it runs."""

from __future__ import annotations

import asyncio
import os
import re
from base64 import b64encode
from dataclasses import replace
from functools import partial
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from grpc_health.v1 import health_pb2
from hypothesis import given
from hypothesis import strategies as st

from conftest import OPERATED, Serve, Served
from failures import failure_of
from gateway import __version__
from gateway.swr.v1 import repos_pb2
from gateway.telemetry import loop_monitor
from gateway.telemetry.markup import element
from gateway.telemetry.status import Cache, Failures, Held, Shown, Status, Use
from gateway.telemetry.status_page import render
from scripted_upstream import Act, ScriptedUpstream, answer, page

CANARY = "canary-4711"
NOW = 1_800_000_000.0
QUIET = Status(
    version="1.2.3",
    upstream="https://swr.example",
    at=NOW,
    began_at=NOW - 90_061,
    problems=(),
    not_ready_reasons=(),
    workers=(),
    circuit="closed",
    calls=12_345,
    in_flight=3,
    streams=1,
    requests=Use(7, 100),
    queue=Use(0, 200),
    held=Held(2048, 3 * 2**20, 0),
    cache=Cache(is_on=True, hits=4, stale=2, coalesced=5),
    failures=(Failures("UPSTREAM_TIMEOUT", 2, NOW - 61), Failures("UPSTREAM_INTERNAL", 1, 0.0)),
    settings=(Shown("--timeout", "1m", False), Shown("--retries", "2", True)),
)


class Reader(HTMLParser):
    """Reads a page as a browser does.

    Attributes:
        elements: All elements with their attributes.
        texts: All texts, but for the style.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style" and data.strip():
            self.texts.append(data)

    @property
    def text(self) -> str:
        return "|".join(self.texts)


@pytest.fixture
def serve(serve: Serve) -> Serve:
    """Start a gateway whose operators are answered."""
    return partial(serve, **OPERATED)


async def look(served: Served) -> Reader:
    status, text = await served.ask("/")
    assert status == 200
    return Reader(text)


# Over HTTP


async def test_a_quiet_gateway_tells_who_it_is_and_that_it_is_ready(serve: Serve, upstream: ScriptedUpstream) -> None:
    told = (await look(await serve())).text
    assert f"swr-gateway: ready|swr-gateway |{__version__}|ready|" in told
    assert upstream.url in told
    assert "Circuit breaker|closed" in told
    assert "Failed calls|None since the start." in told
    assert "Answered from the cache|off" in told
    assert "Requests to the upstream|0 of 100" in told


async def test_what_happens_is_seen(serve: Serve, upstream: ScriptedUpstream) -> None:
    served = await serve(cache_ttl="1h", max_in_flight=1, prefetch=1)
    upstream.play(page("[]"), answer(404, '{"error_code": "SVCSTG.SWR.4040001"}'), (Act.STALL,))
    for _ in range(2):
        await served.list("one")
    failure = await served.fail("two")
    calls = [served.list("three"), served.list("four"), served.stub.StreamRepos(repos_pb2.StreamReposRequest())]
    await served.until(calls_in_flight=3, upstream_in_flight=1, upstream_queue=2)
    told = (await look(served)).text
    assert "Calls in flight|3|1 of them streams" in told
    assert "Requests to the upstream|1 of 1" in told
    assert "Calls in the queue|2 of 200" in told
    assert "Answered from the cache|1|0 of them stale" in told
    assert "Calls since the start|6|1 failed" in told
    when = r"\d+ s ago, \|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    assert re.search(rf"Failed calls\|.*\|{failure.reason}\|{when}\|1\|", told)
    for setting in ("--max-in-flight|1", "--prefetch|1", "--cache-ttl|3600s"):
        assert setting in told.partition("with their defaults")[0]
    for call in calls:
        call.cancel()


async def test_the_latest_failure_comes_first(serve: Serve, upstream: ScriptedUpstream) -> None:
    served = await serve()
    seen = []
    for status in (500, 404, 500):
        upstream.play(answer(status))
        await served.fail()
        seen.append(re.findall(r"UPSTREAM_\w+", (await look(served)).text))
    internal, missing = "UPSTREAM_INTERNAL", "UPSTREAM_NOT_FOUND"
    assert seen == [[internal], [missing, internal], [internal, missing]]


async def test_a_gateway_that_drains_says_so(serve: Serve) -> None:
    served = await serve(drain_delay="1h")
    watch = served.health.Watch(health_pb2.HealthCheckRequest())
    await watch.read()
    leaving = asyncio.create_task(served.drain())
    await watch.read()
    assert "|not ready|: draining|" in (await look(served)).text
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_a_loop_that_stands_still_is_told_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = await serve()
    monkeypatch.setattr(loop_monitor, "DEAD_AFTER", -1.0)
    told = (await look(served)).text
    assert re.search(r"\|broken\|: the event loop has not turned for \d+ s\|", told)
    assert told.count("the event loop") == 1


async def test_an_open_circuit_is_seen(serve: Serve, upstream: ScriptedUpstream) -> None:
    served = await serve(circuit_min_requests=1)
    upstream.play(answer(503))
    await served.fail()
    assert "Circuit breaker|open" in (await look(served)).text
    off = await serve(circuit=False)
    assert "Circuit breaker|off" in (await look(off)).text


SECRETS: list[dict[str, Any]] = [
    {"auth": "token", "token": CANARY},
    {"auth": "aksk", "access_key": f"AK{CANARY}", "secret_key": CANARY, "security_token": CANARY},
    {"auth": "passthrough"},
]


@pytest.mark.parametrize("credential", SECRETS, ids=["token", "access key", "the caller's"])
async def test_no_secret_is_shown(serve: Serve, upstream: ScriptedUpstream, credential: dict[str, Any]) -> None:
    served = await serve(**credential)
    upstream.play(answer(401, f'{{"error_code": "APIGW.0301", "error_msg": "{CANARY}"}}'))
    await failure_of(served.list(metadata=(("x-auth-token", CANARY),)))
    _, text = await served.ask("/")
    assert CANARY not in text
    shown = Reader(text).text
    for name in ("TOKEN", "ACCESS_KEY", "SECRET_KEY", "SECURITY_TOKEN", "IAM_PASSWORD"):
        value = "set, not shown" if name.lower() in credential else "not set"
        assert f"SWR_GATEWAY_{name}|{value}" in shown


async def test_nothing_runs_and_nothing_is_loaded(serve: Serve) -> None:
    served = await serve()
    async with aiohttp.request("GET", f"http://{served.gateway.admin_address}/") as response:
        text, headers = await response.text(), response.headers
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert headers["Content-Security-Policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    read = Reader(text)
    known = {"html", "head", "meta", "title", "style", "body", "header", "main", "nav", "section", "h1", "h2", "p"}
    known |= {"span", "strong", "code", "ul", "li", "a", "dl", "div", "dt", "dd", "meter", "time"}
    known |= {"table", "thead", "tbody", "tr", "th", "td", "details", "summary"}
    assert {tag for tag, _ in read.elements} <= known
    assert not [name for _, given in read.elements for name in given if name == "style" or name.startswith("on")]
    assert [given["href"] for _, given in read.elements if "href" in given] == ["/", "/metrics", "/livez", "/readyz"]
    assert "url(" not in style
    assert "@import" not in style


async def test_a_path_that_is_no_text_is_shown_as_far_as_it_is(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"token\xff")
    path.write_text("secret")
    assert r"/token\udcff" in (await look(await serve(auth="token", token_file=path))).text


async def test_pages_that_are_pointed_at_are_there(serve: Serve) -> None:
    served = await serve()
    for _, attributes in (await look(served)).elements:
        if "href" in attributes:
            assert (await served.ask(str(attributes["href"])))[0] == 200


# As a function


def test_attributes_are_escaped() -> None:
    assert element("p", title='"><script>') == '<p title="&quot;&gt;&lt;script&gt;"></p>'


def test_numbers_are_written_for_people() -> None:
    told = Reader(render(QUIET)).text
    assert "Calls since the start|12,345|3 failed" in told
    assert "Bytes held|3.0 MiB|2.0 KiB unread, 3.0 MiB fetched ahead, 0 B in the cache" in told
    assert "Up for|1 d 1 h|since |2027-01-14 06:58:59 UTC" in told
    assert "Answered from the cache|6|2 of them stale|5 calls coalesced" in told
    assert "UPSTREAM_TIMEOUT|1 min 1 s ago, |2027-01-15 07:58:59 UTC|2|" in told
    assert "UPSTREAM_INTERNAL|in a worker that has ended|1|" in told
    assert "Settings|Setting|Value|--timeout|1m|Settings with their defaults: 1|Setting|Value|--retries|2" in told


def test_workers_have_a_line_each_and_one_process_has_none() -> None:
    assert "Workers" not in Reader(render(QUIET)).text
    told = Reader(render(replace(QUIET, workers=("worker 1: ok", "worker 2: gone")))).text
    assert "|Workers|worker 1: ok|worker 2: gone|" in told


def test_tables_and_sections_are_named_for_who_does_not_see_them() -> None:
    read = Reader(render(replace(QUIET, workers=("worker 1: ok",))))
    ids = {given["id"] for tag, given in read.elements if tag == "h2"}
    assert {given["aria-labelledby"] for tag, given in read.elements if tag == "section"} == ids
    assert {given["scope"] for tag, given in read.elements if tag == "th"} == {"row", "col"}
    assert ("html", {"lang": "en"}) in read.elements


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), min_size=1))
def test_no_text_is_read_as_html(text: str) -> None:
    marked = f"a{text}z<script>\"&amp;'</script>"
    status = replace(
        QUIET,
        upstream=marked,
        problems=(marked,),
        workers=(marked,),
        circuit=marked,
        failures=(Failures(marked, 1, NOW),),
        settings=(Shown(marked, marked, False),),
    )
    read, plain = Reader(render(status)), Reader(render(replace(QUIET, problems=("x",), workers=("x",))))
    assert {tag for tag, _ in read.elements} == {tag for tag, _ in plain.elements}
    assert [one.removeprefix(": ") for one in read.texts].count(marked) == 7
