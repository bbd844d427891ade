"""What the fetcher tells of its progress: to whoever waits, to those who coalesce, and to metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.core.errors import CREDENTIAL_UNAVAILABLE, GATEWAY_OVERLOADED, UPSTREAM_CONNECTION_LOST, GatewayError
from gateway.credentials.base import AuthHeaders, Credential, with_token
from gateway.credentials.tokens import NoCredential
from gateway.listing.fetching import PageFetcher
from gateway.metrics import Metrics
from gateway.reliability.deadline import Deadline
from gateway.reliability.progress import Progress
from gateway.server.composition import make_policy
from gateway.settings.model import Settings
from gateway.telemetry.call import begin_call
from gateway.telemetry.tracing import NoTracing
from gateway.upstream.client import UpstreamClient
from gateway.upstream.tls import UpstreamTls
from patience import AGES, PATIENT, until
from scripted_upstream import Act, Script, ScriptedUpstream, answer, page

ROWS = page("[]")
LOST = UPSTREAM_CONNECTION_LOST.reason


class Fetching:
    """Fetches of one page each, and what becomes known of them.

    Attributes:
        progress: Of the latest.
        pauses: Seconds of each pause before a retry, and why.
    """

    def __init__(self, fetcher: PageFetcher, metrics: Metrics) -> None:
        self.fetcher = fetcher
        self.pauses: list[tuple[float, GatewayError]] = []
        self._metrics = metrics

    def begin(self) -> asyncio.Task[Any]:
        now = asyncio.get_running_loop().time
        deadline = Deadline(now() + AGES, by_caller=False)
        self.progress = Progress(lambda: deadline, lambda until, why: self.pauses.append((until - now(), why)))
        call = begin_call("service/method", (), NoTracing())
        return asyncio.create_task(self.fetcher.fetch("/v2/manage/repos", call, self.progress))

    def counted(self, name: str, reason: str) -> float | None:
        """Return a counter's value for a reason."""
        name = f"swr_gateway_upstream_{name}_total"
        for family in self._metrics.registry.collect():
            for sample in family.samples:
                if sample.name == name and reason in sample.labels.values():
                    return sample.value
        return None


@asynccontextmanager
async def fetching(
    upstream: ScriptedUpstream, credential: Credential | None = None, **given: Any
) -> AsyncIterator[Fetching]:
    settings = Settings(upstream_url=upstream.url, auth="none", **PATIENT | given)
    metrics = Metrics()
    client = UpstreamClient(
        upstream.url, UpstreamTls(None, None, metrics), attempt_timeout=AGES, max_response_bytes=1000
    )
    async with client:
        policy = make_policy(settings, metrics)
        yield Fetching(PageFetcher(client, credential or NoCredential(), policy, metrics), metrics)


async def let_all_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Kept(NoCredential):
    """A credential that is slow, or is renewed."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()

    async def auth_headers(self, target: str, metadata: Mapping[str, str]) -> AuthHeaders:
        await self.may_answer.wait()
        return with_token("token")

    async def renew(self, rejected: AuthHeaders) -> AuthHeaders | None:
        return with_token("newer")


async def test_a_call_that_waits_for_a_permit_blames_the_queue(upstream: ScriptedUpstream) -> None:
    async with fetching(upstream, max_in_flight=1) as one:
        await one.fetcher.policy.limiter.acquire()
        waiting = one.begin()
        await let_all_run()
        assert (one.progress.waiting_for, one.progress.phase) == (GATEWAY_OVERLOADED, "queue")
        waiting.cancel()


async def test_a_call_that_waits_for_a_credential_blames_that_and_is_in_no_phase_of_a_request(
    upstream: ScriptedUpstream,
) -> None:
    async with fetching(upstream, Kept()) as one:
        waiting = one.begin()
        await let_all_run()
        assert (one.progress.waiting_for, one.progress.phase) == (CREDENTIAL_UNAVAILABLE, "")
        waiting.cancel()


async def test_behind_an_answer_there_is_neither_a_failure_nor_a_phase(upstream: ScriptedUpstream) -> None:
    upstream.play(answer(503), ROWS)
    async with fetching(upstream) as one:
        await one.begin()
        assert (one.progress.failure, one.progress.phase) == (None, "")


async def test_a_pause_is_told_with_its_end_and_its_reason(upstream: ScriptedUpstream) -> None:
    upstream.play(answer(503, headers={"Retry-After": "2700"}))
    async with fetching(upstream) as one:
        waiting = one.begin()
        await until(lambda: bool(one.pauses))
        ((seconds, why),) = one.pauses
        assert seconds > 2600
        assert (why.http_status, one.progress.phase) == (503, "")
        assert one.progress.failure is why
        waiting.cancel()


async def test_a_renewed_credential_is_tried_at_once(upstream: ScriptedUpstream) -> None:
    upstream.play(answer(401), ROWS)
    credential = Kept()
    credential.may_answer.set()
    async with fetching(upstream, credential) as one:
        await one.begin()
        ((seconds, why),) = one.pauses
        assert (seconds <= 0, why.http_status) == (True, 401)


async def test_a_stale_connection_is_the_failure_while_the_fresh_one_is_waited_for(upstream: ScriptedUpstream) -> None:
    upstream.play(ROWS, (Act.CLOSE,), (Act.STALL,))
    async with fetching(upstream) as one:
        await one.begin()
        waiting = one.begin()
        await upstream.all_arrived(3)
        assert one.progress.failure is not None
        assert one.progress.failure.cause is UPSTREAM_CONNECTION_LOST
        assert one.counted("resends", LOST) == 1
        waiting.cancel()


@pytest.mark.parametrize("retries", [2, 3])
async def test_no_request_that_was_sent_again_over_a_fresh_connection_is_a_retry(
    upstream: ScriptedUpstream, retries: int
) -> None:
    stale: Script = (Act.CLOSE,)
    failed: Script = (answer(503),)
    upstream.play(ROWS, *[stale, failed] * retries, stale, ROWS)
    async with fetching(upstream, retries=retries) as one:
        await one.begin()
        await one.begin()
        assert one.progress.timings.attempts == 2 * retries + 2
        assert one.counted("resends", LOST) == retries + 1
        assert one.counted("retries", "UPSTREAM_UNAVAILABLE") == retries
