"""The composition root: all parts of a gateway that know no gRPC, made of the settings and connected."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from gateway.core.breaker import Rules, State
from gateway.core.circuits import Circuits
from gateway.core.convert import PageConverter
from gateway.core.retry import CommonRetryBudget, RetryBudget
from gateway.core.tenants import Tenants
from gateway.credentials.base import Credential
from gateway.files.watch import HasFiles
from gateway.listing.conversions import Conversions
from gateway.listing.fetching import PageFetcher
from gateway.listing.listing import Listing
from gateway.listing.policy import ResiliencePolicy
from gateway.metrics import Metrics
from gateway.reliability.byte_budget import ByteBudget
from gateway.reliability.cache import PageCache
from gateway.reliability.coalescing import Coalescer
from gateway.reliability.limiter import ConcurrencyLimiter
from gateway.server.credential_factory import make_credential, replace_secrets
from gateway.settings.model import Auth, Settings
from gateway.settings.settings_file import Loaded, SettingsFile
from gateway.upstream.client import UpstreamClient
from gateway.upstream.tls import UpstreamTls

# Part of a request's time that must have passed before its cut-off counts against the upstream: with less, as behind a
# long wait for a token, none might have answered.
FAIR_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Parts:
    """What a gateway serves from.

    Attributes:
        listing: Where pages come from.
        policy: Of the upstream behind it.
        with_files: What is made of files.
    """

    listing: Listing
    policy: ResiliencePolicy
    with_files: tuple[HasFiles, ...]


async def open_parts(
    settings: Settings,
    loaded: Loaded | None,
    metrics: Metrics,
    on_token: Callable[[bool], Awaitable[None]],
    stack: AsyncExitStack,
) -> Parts:
    """Make and connect the parts.

    Args:
        settings: What they are made of.
        loaded: The same as they were loaded; None where there is no file of theirs to read again.
        metrics: Where they count and measure.
        on_token: Told whether there is a token, where it comes from IAM.
        stack: Closes them.

    Raises:
        BadFileError: A file that the settings name cannot be used.
    """
    tls = upstream_tls(settings, metrics)
    upstream = UpstreamClient(
        settings.origin,
        tls,
        attempt_timeout=settings.attempt_timeout,
        max_response_bytes=settings.max_response_bytes,
        most_idle=settings.max_in_flight,
        on_discarded=metrics.discarded.inc,
    )
    await stack.enter_async_context(upstream)
    file = SettingsFile(loaded, metrics) if loaded else None
    own = settings.model_copy(update=dict(file.secrets)) if file else settings
    credential = make_credential(own, tls, on_token, metrics)
    await stack.enter_async_context(credential)
    if file:
        file.use = lambda secrets: replace_secrets(credential, settings.model_copy(update=dict(secrets)), tls)
    policy = make_policy(settings, metrics)
    with_files = (tls, credential, *((file,) if file else ()))
    return Parts(make_listing(settings, upstream, credential, policy, metrics), policy, with_files)


def make_listing(
    settings: Settings, upstream: UpstreamClient, credential: Credential, policy: ResiliencePolicy, metrics: Metrics
) -> Listing:
    """Return where pages come from."""
    return Listing(
        PageFetcher(upstream, credential, policy, metrics),
        Conversions(PageConverter(settings.row_memo_bytes), metrics),
        credential,
        dialect=settings.dialect,
        cache=_make_cache(settings, metrics),
        coalescer=Coalescer(metrics) if settings.coalesce else None,
        prefetch=settings.prefetch,
        prefetch_budget=_make_prefetch_budget(settings, metrics),
        metrics=metrics,
    )


def upstream_tls(settings: Settings, metrics: Metrics) -> UpstreamTls:
    """Return what connections to the upstream and to IAM are secured with."""
    certificate, key = settings.upstream_client_cert, settings.upstream_client_key
    return UpstreamTls(settings.upstream_ca, (certificate, key) if certificate and key else None, metrics)


def make_policy(settings: Settings, metrics: Metrics) -> ResiliencePolicy:
    """Return the limits of requests to the upstream, watched by metrics."""
    is_shared = settings.auth is Auth.PASSTHROUGH
    now = asyncio.get_running_loop().time
    rules = _circuit_rules(settings)
    tenants, circuits = Tenants(rules), Circuits(rules)
    limiter = ConcurrencyLimiter(
        settings.max_in_flight, settings.max_queue, settings.queue_timeout, is_shared=is_shared
    )
    budget = CommonRetryBudget(now()) if is_shared else RetryBudget(now())
    metrics.watch("upstream_in_flight", "Requests to the upstream under way.", lambda: limiter.in_use)
    metrics.watch("upstream_in_flight_limit", "How many there may be.", lambda: settings.max_in_flight)
    metrics.watch("upstream_queue", "Calls that wait for a permit.", lambda: limiter.queued)
    metrics.watch("upstream_queue_limit", "How many may wait.", lambda: settings.max_queue)
    metrics.watch(
        "upstream_circuit_open",
        "1 while the circuit breaker is open.",
        lambda: circuits.state_at(now()) is State.OPEN,
        "livemax",
    )
    metrics.watch(
        "upstream_circuit_open_tenants", "Credentials whose own circuit is open.", lambda: tenants.left_alone(now())
    )
    metrics.watch("upstream_retry_budget", "Requests that may be sent again at once.", lambda: budget.tokens(now()))
    fair_time = min(settings.attempt_timeout, settings.timeout) * FAIR_SHARE
    # As many as there can be kept connections: all of them may be silent at once, and that only once.
    silent = RetryBudget(now(), most=settings.max_in_flight)
    return ResiliencePolicy(tenants, limiter, circuits, budget, silent, settings.retries, fair_time)


def circuit_note(policy: ResiliencePolicy, settings: Settings, now: float) -> str:
    """Return what operators should know of the circuit, in words."""
    if not settings.circuit:
        return "upstream circuit: off"
    state, left_alone = policy.circuits.state_at(now).value, policy.tenants.left_alone(now)
    if settings.auth is not Auth.PASSTHROUGH or not left_alone:
        return f"upstream circuit: {state}"
    return f"upstream circuit: {state}, open for single credentials: {left_alone}"


def _make_cache(settings: Settings, metrics: Metrics) -> PageCache | None:
    if not (settings.cache_ttl or settings.stale_if_error):
        return None
    cache = PageCache(settings.cache_ttl, settings.stale_if_error, time.monotonic)
    metrics.watch("cache_bytes", "Memory of remembered replies.", lambda: cache.size)
    return cache


def _make_prefetch_budget(settings: Settings, metrics: Metrics) -> ByteBudget:
    budget = ByteBudget(settings.prefetch_bytes)
    metrics.watch("prefetched_bytes", "Memory of pages that streams have fetched ahead.", lambda: budget.used)
    return budget


def _circuit_rules(settings: Settings) -> Rules:
    least = settings.circuit_min_requests if settings.circuit else math.inf
    return Rules(settings.circuit_window, least, settings.circuit_ratio)
