"""Remembered pages: for how long, for whom, how many, and in place of which failures."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Serve, Served
from failures import failure_of
from gateway.core.errors import CREDENTIAL_UNAVAILABLE, GatewayError
from gateway.core.filter import read_list_request
from gateway.core.pages import SerializedPage
from gateway.credentials.base import AuthHeaders, Credential
from gateway.credentials.tokens import NoCredential
from gateway.listing.listing import Listing
from gateway.metrics import Metrics
from gateway.reliability import cache as module
from gateway.reliability.cache import OVERHEAD, PageCache
from gateway.reliability.deadline import Deadline
from gateway.server import composition
from gateway.server.composition import make_listing, make_policy
from gateway.settings.model import Settings
from gateway.swr.v1 import repos_pb2
from gateway.telemetry.call import begin_call
from gateway.telemetry.tracing import NoTracing
from gateway.upstream.client import UpstreamClient
from gateway.upstream.tls import UpstreamTls
from patience import HOUR, Advance, Clock
from scripted_upstream import Act, ScriptedUpstream, answer, page, scripted_upstream

REQUEST = repos_pb2.ListReposRequest()
PAGE, ROOM = SerializedPage(b"p" * 100), sys.getsizeof(b"p" * 100) + OVERHEAD
A, B = (("x-auth-token", "a"),), (("x-auth-token", "b"),)
NO_CACHE = (("cache-control", "no-cache"),)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("ttl", "stale", "after", "found"),
    [
        (10.0, 5.0, 0.0, (True, True)),
        (10.0, 5.0, 9.99, (True, True)),
        (10.0, 5.0, 10.0, (False, True)),
        (10.0, 5.0, 14.99, (False, True)),
        (10.0, 5.0, 15.0, (False, False)),
        (10.0, 0.0, 9.99, (True, True)),
        (10.0, 0.0, 10.0, (False, False)),
        (0.0, 5.0, 0.0, (False, True)),
        (0.0, 5.0, 5.0, (False, False)),
    ],
)
def test_a_page_is_fresh_then_stale_then_forgotten(
    clock: Clock, ttl: float, stale: float, after: float, found: tuple[bool, bool]
) -> None:
    cache = PageCache(ttl, stale, clock)
    cache.store(b"key", PAGE, clock.now)
    clock.now += after
    fresh, kept = cache.fresh(b"key"), cache.stale(b"key")
    assert (fresh is not None, kept is not None) == found
    for cached in (fresh, kept):
        assert cached is None or (cached.page, cached.info.age) == (PAGE, int(after))


def test_a_page_that_was_stored_again_is_a_new_one(clock: Clock) -> None:
    cache = PageCache(10.0, 0.0, clock)
    cache.store(b"key", PAGE, clock.now)
    clock.now += 9.0
    cache.store(b"key", SerializedPage(b"new"), clock.now)
    clock.now += 9.0
    cached = cache.fresh(b"key")
    assert cached
    assert (cached.page.message, cached.info.age) == (b"new", 9)


def test_a_page_is_as_old_as_the_question(clock: Clock) -> None:
    cache = PageCache(10.0, 0.0, clock)
    cache.store(b"key", PAGE, clock.now - 9.0)
    cached = cache.fresh(b"key")
    assert cached
    assert cached.info.age == 9
    clock.now += 1.0
    assert cache.fresh(b"key") is None


@pytest.mark.parametrize(
    ("earlier", "kept"), [(1.0, b"first"), (0.0, b"second"), (-1.0, b"second")], ids=["before", "with it", "after"]
)
def test_a_page_stays_unless_one_comes_that_was_not_asked_for_before_it(
    clock: Clock, earlier: float, kept: bytes
) -> None:
    cache = PageCache(10.0, 0.0, clock)
    cache.store(b"key", SerializedPage(b"first"), clock.now - 2.0)
    cache.store(b"key", SerializedPage(b"second"), clock.now - 2.0 - earlier)
    cached = cache.fresh(b"key")
    assert cached
    assert cached.page.message == kept


@pytest.mark.parametrize("used", [PageCache.fresh, PageCache.stale], ids=["fresh", "stale"])
def test_the_least_recently_used_page_goes_first(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, used: Callable[[PageCache, bytes], object]
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 3 * ROOM)
    cache = PageCache(10.0, 5.0, clock)
    for key in (b"a", b"b", b"c"):
        cache.store(key, PAGE, clock.now)
    used(cache, b"a")
    cache.store(b"d", PAGE, clock.now)
    assert [key for key in (b"a", b"b", b"c", b"d") if cache.fresh(key)] == [b"a", b"c", b"d"]
    assert cache.size == 3 * ROOM


@pytest.mark.parametrize(("room", "kept"), [(ROOM, True), (ROOM - 1, False)], ids=["just fits", "too large"])
def test_a_page_larger_than_its_share_is_not_kept_nor_is_the_one_before_it(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, room: int, kept: bool
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES_OF_ONE", room)
    cache = PageCache(10.0, 5.0, clock)
    for key in (b"other", b"key"):
        cache.store(key, SerializedPage(b""), clock.now)
    cache.store(b"key", PAGE, clock.now)
    cached = cache.stale(b"key")
    assert (cached.page if cached else None) == (PAGE if kept else None)
    assert cache.stale(b"other")


def test_a_page_larger_than_its_share_leaves_one_that_was_asked_for_later(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES_OF_ONE", ROOM - 1)
    cache = PageCache(10.0, 5.0, clock)
    cache.store(b"key", SerializedPage(b""), clock.now)
    cache.store(b"key", PAGE, clock.now - 1.0)
    assert cache.fresh(b"key")


def test_the_size_is_that_of_the_pages_and_what_it_takes_to_find_them(clock: Clock) -> None:
    cache = PageCache(10.0, 5.0, clock)
    assert cache.size == 0
    for key in (b"a", b"b", b"a"):
        cache.store(key, PAGE, clock.now)
    assert cache.size == 2 * ROOM


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 400), st.floats(0, 8)), max_size=40))
def test_only_the_last_page_of_a_key_is_given_in_its_time_and_within_the_room(
    stores: list[tuple[int, int, float]],
) -> None:
    clock, last = Clock(), dict[bytes, tuple[SerializedPage, float]]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_BYTES", 3 * ROOM)
        patch.setattr(module, "MAX_BYTES_OF_ONE", ROOM + 100)
        cache = PageCache(10.0, 5.0, clock)
        for number, (key, size, pause) in enumerate(stores):
            clock.now += pause
            last[bytes([key])] = SerializedPage(bytes([number]) * size), clock.now
            cache.store(bytes([key]), *last[bytes([key])])
            assert cache.size <= 3 * ROOM
            assert (cache.fresh(bytes([key])) is not None) == (size <= len(PAGE.message) + 100)
            for other, (newest, asked_at) in last.items():
                fresh, stale = cache.fresh(other), cache.stale(other)
                assert fresh is None or (fresh.page == newest and clock.now - asked_at < 10.0)
                assert stale is None or (stale.page == newest and clock.now - asked_at < 15.0)


def test_another_thread_may_read_the_size_while_pages_come_and_go(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the operators' /metrics does."""
    monkeypatch.setattr(module, "MAX_BYTES", 50 * ROOM)
    cache, ended, wrong = PageCache(10.0, 5.0, clock), threading.Event(), list[Exception]()

    def watch() -> None:
        while not ended.is_set():
            try:
                assert 0 <= cache.size <= 50 * ROOM
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what this test looks for
                wrong.append(error)
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for number in range(30_000):
            cache.store(number.to_bytes(16), PAGE, clock.now)
        assert cache.size == 50 * ROOM
    finally:
        ended.set()
        watcher.join()
    assert wrong == []


# On sockets.


@pytest.fixture
def serve(serve: Serve) -> Serve:
    """Start a gateway that lets calls share requests."""
    return partial(serve, coalesce=True)


async def listed(
    served: Served, request: repos_pb2.ListReposRequest = REQUEST, *metadata: tuple[str, str]
) -> tuple[str, str]:
    """Return the name of the first repository, and what the trailer says."""
    call = served.stub.ListRepos(request, metadata=(*metadata, ("x-request-id", "mine")))
    (repo,) = (await call).repos
    trailers = dict(await call.trailing_metadata())
    assert trailers.pop("x-request-id") == "mine"
    said = str(trailers.pop("x-swr-gateway-cache", "nothing"))
    assert trailers == {}
    return repo.name, said


async def reason_of(served: Served, *metadata: tuple[str, str]) -> str:
    return (await failure_of(served.stub.ListRepos(REQUEST, metadata=metadata))).reason


@pytest.fixture(autouse=True)
def clock_of_gateways(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let gateways remember by a clock that goes when it is told to."""
    monkeypatch.setattr(composition, "time", SimpleNamespace(monotonic=clock))


def named(*names: str) -> list[bytes]:
    return [page(f'[{{"name":"{name}"}}]') for name in names]


@pytest.mark.parametrize("coalesce", [True, False], ids=["shared", "not shared"])
async def test_a_reply_is_given_again_for_its_time_and_says_so(
    serve: Serve, upstream: ScriptedUpstream, clock: Clock, coalesce: bool
) -> None:
    upstream.play(*named("first", "second"))
    served = await serve(cache_ttl="10s", coalesce=coalesce)
    assert await listed(served) == ("first", "nothing")
    assert await listed(served) == ("first", "hit; age=0")
    clock.now += 9.9
    assert await listed(served) == ("first", "hit; age=9")
    assert len(upstream.requests) == 1
    clock.now += 0.2
    assert await listed(served) == ("second", "nothing")
    assert await listed(served) == ("second", "hit; age=0")
    await served.drain()
    assert len(upstream.requests) == 2


async def test_time_passes_by_itself(serve: Serve, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "time", time)
    upstream.play(*named("first", "second"))
    served = await serve(cache_ttl="20ms")
    assert await listed(served) == ("first", "nothing")
    while (reply := await listed(served)) == ("first", "hit; age=0"):
        pass
    assert reply == ("second", "nothing")


def wanted(limit: int | None = None, **clauses: Any) -> repos_pb2.ListReposRequest:
    offset = None if limit is None else 0
    return repos_pb2.ListReposRequest(filter=repos_pb2.RepoFilter(**clauses), offset=offset, limit=limit)


@pytest.mark.parametrize(
    ("request_", "metadata"),
    [
        pytest.param(wanted(name="x"), A, id="another name"),
        pytest.param(wanted(center=repos_pb2.CENTER_THIRD_PARTY), A, id="another center"),
        pytest.param(wanted(100), A, id="another page"),
        pytest.param(REQUEST, B, id="another token"),
    ],
)
async def test_a_reply_is_not_that_of_a_call_with(
    serve: Serve, upstream: ScriptedUpstream, request_: repos_pb2.ListReposRequest, metadata: Any
) -> None:
    upstream.play(*named("first", "second"))
    served = await serve(cache_ttl="1h", auth="passthrough")
    assert await listed(served, REQUEST, *A) == ("first", "nothing")
    assert await listed(served, request_, *metadata) == ("second", "nothing")
    assert await listed(served, request_, *metadata) == ("second", "hit; age=0")
    assert await listed(served, REQUEST, *A) == ("first", "hit; age=0")
    await served.drain()
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("value", ["no-cache", "No-Cache", "max-age=0, no-cache"])
async def test_no_cache_goes_through_and_what_it_brings_is_remembered(
    serve: Serve, upstream: ScriptedUpstream, value: str
) -> None:
    upstream.play(*named("first", "second"))
    served = await serve(cache_ttl="1h")
    assert await listed(served) == ("first", "nothing")
    assert await listed(served, REQUEST, ("cache-control", value)) == ("second", "nothing")
    assert await listed(served) == ("second", "hit; age=0")


ANSWERS: list[Any] = [
    pytest.param((answer(503),), id="503"),
    pytest.param((answer(502),), id="502"),
    pytest.param((answer(504),), id="504"),
    pytest.param((answer(409, '[{"errorCode":"SVCSTG.SWR.4090023"}]'),), id="busy"),
    pytest.param((Act.CLOSE,), id="a broken connection"),
    pytest.param((Act.STALL,), id="no answer in time"),
]


@pytest.mark.parametrize("script", ANSWERS)
async def test_the_last_page_stands_in_for_one_that_cannot_be_had_at_this_time(
    serve: Serve, upstream: ScriptedUpstream, clock: Clock, advance: Advance, script: tuple[Any, ...]
) -> None:
    upstream.play(page('[{"name":"good"}]', {"Connection": "close"}), script)

    async def end(call: Coroutine[Any, Any, Any], arrivals: int) -> Any:
        ending = asyncio.create_task(call)
        if Act.STALL in script:
            await upstream.all_arrived(arrivals)
            advance(HOUR)
        return await ending

    served = await serve(stale_if_error="1h", attempt_timeout="1h")
    assert await listed(served) == ("good", "nothing")
    clock.now += 70.5
    assert await end(listed(served), 2) == ("good", "stale; age=70")
    assert len(upstream.requests) == 2
    assert await end(reason_of(served, *NO_CACHE), 3) != ""
    clock.now += 3600.0
    assert await end(reason_of(served), 4) != ""


async def test_the_last_page_stands_in_where_nobody_listens_any_more(serve: Serve) -> None:
    async with scripted_upstream() as upstream:
        upstream.play(page('[{"name":"good"}]', {"Connection": "close"}))
        served = await serve(upstream_url=upstream.url, stale_if_error="1h")
        assert await listed(served) == ("good", "nothing")
    assert await listed(served) == ("good", "stale; age=0")
    assert await reason_of(served, *NO_CACHE) == "UPSTREAM_UNREACHABLE"


@pytest.mark.usefixtures("patient_circuit")
async def test_the_last_page_stands_in_while_the_circuit_is_open(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(*named("good"), answer(503))
    served = await serve(stale_if_error="1h")
    assert await listed(served) == ("good", "nothing")
    while await reason_of(served, *NO_CACHE) != "UPSTREAM_CIRCUIT_OPEN":
        pass
    asked = len(upstream.requests)
    assert await listed(served) == ("good", "stale; age=0")
    assert len(upstream.requests) == asked


REFUSALS: list[Any] = [
    pytest.param(answer(400), "UPSTREAM_INVALID_ARGUMENT", id="400"),
    pytest.param(answer(401), "UPSTREAM_CREDENTIAL_REJECTED", id="401"),
    pytest.param(answer(403), "UPSTREAM_PERMISSION_DENIED", id="403"),
    pytest.param(answer(404), "UPSTREAM_NOT_FOUND", id="404"),
    pytest.param(answer(429), "UPSTREAM_RATE_LIMITED", id="429"),
    pytest.param(answer(500), "UPSTREAM_INTERNAL", id="500"),
    pytest.param(answer(302), "UPSTREAM_REDIRECT", id="302"),
    pytest.param(page("no JSON"), "UPSTREAM_MALFORMED_RESPONSE", id="no page"),
]


@pytest.mark.parametrize(("script", "reason"), REFUSALS)
async def test_no_other_error_is_covered_up(
    serve: Serve, upstream: ScriptedUpstream, script: bytes, reason: str
) -> None:
    upstream.play(*named("good"), script)
    served = await serve(stale_if_error="1h")
    assert await listed(served) == ("good", "nothing")
    assert await reason_of(served) == reason


@asynccontextmanager
async def listing_of(settings: Settings, credential: Credential) -> AsyncIterator[Listing]:
    """The inside of a gateway."""
    assert settings.upstream_url
    metrics = Metrics()
    tls = UpstreamTls(None, None, metrics)
    async with UpstreamClient(settings.upstream_url, tls, attempt_timeout=10 * HOUR, max_response_bytes=1000) as client:
        yield make_listing(settings, client, credential, make_policy(settings, metrics), metrics)


@pytest.mark.parametrize("by_caller", [True, False], ids=["the caller's", "the settings'"])
@pytest.mark.parametrize("coalesce", [True, False], ids=["shared", "not shared"])
async def test_a_callers_deadline_is_told_and_only_the_settings_is_covered_up(
    upstream: ScriptedUpstream, advance: Advance, by_caller: bool, coalesce: bool
) -> None:
    """Inside of the gateway: outside, a caller's own clock ends its call before the answer comes."""
    upstream.play((*named("good"),), (Act.STALL,))
    settings = Settings(upstream_url=upstream.url, auth="none", stale_if_error="1h", coalesce=coalesce)
    now = asyncio.get_running_loop().time
    async with listing_of(settings, NoCredential()) as listing:
        query, call = read_list_request(REQUEST), begin_call("service/method", (), NoTracing())
        good = await listing.page(query, call, Deadline(now() + HOUR, by_caller))
        late = asyncio.create_task(listing.page(query, call, Deadline(now() + HOUR, by_caller)))
        await upstream.all_arrived(2)
        advance(HOUR)
        if by_caller:
            with pytest.raises(GatewayError, match="DEADLINE_EXCEEDED"):
                await late
        else:
            assert await late == good
            assert call.from_cache == ("stale", 0)


class Failing(NoCredential):
    """A credential that cannot be had any more once it fails."""

    def __init__(self) -> None:
        self.fails = False

    async def auth_headers(self, target: str, metadata: Mapping[str, str]) -> AuthHeaders:
        if self.fails:
            raise GatewayError(CREDENTIAL_UNAVAILABLE)
        return await super().auth_headers(target, metadata)


@pytest.mark.parametrize("coalesce", [True, False], ids=["shared", "not shared"])
async def test_without_a_credential_nobody_is_given_what_is_remembered(
    upstream: ScriptedUpstream, coalesce: bool
) -> None:
    upstream.play(*named("good"))
    settings = Settings(upstream_url=upstream.url, auth="none", stale_if_error="1h", coalesce=coalesce)
    credential, query, call = Failing(), read_list_request(REQUEST), begin_call("service/method", (), NoTracing())
    deadline = Deadline(asyncio.get_running_loop().time() + HOUR, by_caller=False)
    async with listing_of(settings, credential) as listing:
        await listing.page(query, call, deadline)
        credential.fails = True
        with pytest.raises(GatewayError, match="CREDENTIAL_SOURCE_UNAVAILABLE"):
            await listing.page(query, call, deadline)


@pytest.mark.parametrize("script", [answer(503), answer(404), page("no JSON")], ids=["503", "404", "no page"])
async def test_an_error_is_never_remembered_and_without_an_earlier_page_it_is_the_answer(
    serve: Serve, upstream: ScriptedUpstream, script: bytes
) -> None:
    upstream.play(script, *named("good"))
    served = await serve(cache_ttl="1h", stale_if_error="1h")
    assert await reason_of(served)
    assert served.metric("cache_bytes") == 0
    assert await listed(served) == ("good", "nothing")


async def test_streams_neither_read_what_is_remembered_nor_add_to_it(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(*named("first", "second", "third"))
    request = repos_pb2.StreamReposRequest(page_size=100)
    served = await serve(cache_ttl="1h", stale_if_error="1h")
    streamed = [message.repos[0].name async for message in served.stub.StreamRepos(request)]
    assert await listed(served, wanted(100)) == ("second", "nothing")
    streamed += [message.repos[0].name async for message in served.stub.StreamRepos(request)]
    assert await listed(served, wanted(100)) == ("second", "hit; age=0")
    await served.drain()
    assert streamed == ["first", "third"]
    assert len({request.target for request in upstream.requests}) == 1


@pytest.mark.parametrize(
    ("script", "reason"), [(answer(403), "UPSTREAM_PERMISSION_DENIED"), (answer(503), "UPSTREAM_UNAVAILABLE")]
)
async def test_what_one_may_see_is_never_given_to_another(
    serve: Serve, upstream: ScriptedUpstream, script: bytes, reason: str
) -> None:
    upstream.play(*named("of-a"), script)
    served = await serve(cache_ttl="1h", stale_if_error="1h", auth="passthrough")
    assert await listed(served, REQUEST, *A) == ("of-a", "nothing")
    assert await reason_of(served, *B) == reason
    assert await reason_of(served) == "CREDENTIAL_MISSING"
    assert await listed(served, REQUEST, *A) == ("of-a", "hit; age=0")
    await served.drain()
    assert [request.headers["x-auth-token"] for request in upstream.requests] == ["a", "b"]


async def test_nothing_is_remembered_unless_asked_for(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(*named("first", "second"), answer(503))
    served = await serve()
    assert [await listed(served) for _ in range(2)] == [("first", "nothing"), ("second", "nothing")]
    assert await reason_of(served) == "UPSTREAM_UNAVAILABLE"
    with pytest.raises(KeyError):
        served.metric("cache_bytes")


async def test_metrics_count_what_was_given_again_and_tell_its_size(
    serve: Serve, upstream: ScriptedUpstream, clock: Clock
) -> None:
    upstream.play(*named("good"), answer(503))
    served = await serve(cache_ttl="10s", stale_if_error="1h")
    assert served.metric("cache_bytes") == 0
    assert [(await listed(served))[1] for _ in range(3)] == ["nothing", "hit; age=0", "hit; age=0"]
    clock.now += 11.0
    assert (await listed(served))[1] == "stale; age=11"
    assert served.metric("cached_pages_total", how="hit") == 2
    assert served.metric("cached_pages_total", how="stale") == 1
    assert OVERHEAD < served.metric("cache_bytes") < OVERHEAD + 200
