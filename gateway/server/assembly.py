"""The parts of a gateway that settings choose."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

from gateway.core.breaker import Rules, State
from gateway.core.circuits import Circuits
from gateway.core.iam_messages import IamUser
from gateway.core.retry import CommonRetryBudget, RetryBudget
from gateway.core.tenants import Tenants
from gateway.credentials.access_key import AccessKey, AccessKeySigner
from gateway.credentials.base import Credential
from gateway.credentials.iam_token import IamToken
from gateway.credentials.tokens import CallerToken, NoCredential, StaticToken, TokenFile
from gateway.listing.conversions import Conversions
from gateway.listing.fetching import PageFetcher, Protection
from gateway.listing.pages import ListedPages
from gateway.metrics import Metrics
from gateway.reliability.byte_budget import ByteBudget
from gateway.reliability.cache import PageCache
from gateway.reliability.flights import Flights
from gateway.reliability.turns import Turns
from gateway.server.tls import ServerTls
from gateway.settings.model import Auth, Settings
from gateway.upstream.iam_client import IamClient
from gateway.upstream.tls import UpstreamTls

# Of the time that a request may take. With less, as behind a long wait for a token, none might have answered.
FAIR_SHARE = 0.5


def server_tls(settings: Settings, metrics: Metrics) -> ServerTls | None:
    """Return what ports are secured with; None for plain text."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return ServerTls(settings.tls_cert, settings.tls_key, settings.tls_client_ca, metrics)


def upstream_tls(settings: Settings, metrics: Metrics) -> UpstreamTls:
    """Return what connections to the upstream and to IAM are secured with."""
    certificate, key = settings.upstream_client_cert, settings.upstream_client_key
    return UpstreamTls(settings.upstream_ca, (certificate, key) if certificate and key else None, metrics)


def make_credential(
    settings: Settings, tls: UpstreamTls, announce: Callable[[bool], Awaitable[None]], metrics: Metrics
) -> Credential:
    """Return what signs in to the upstream. That it can be made is what gateway.settings.rules sees to.

    Args:
        settings: Those of the gateway.
        tls: How IAM is reached.
        announce: Told whether there is a token, where it comes from IAM.
        metrics: Where renewals and reloads are counted.
    """
    match settings.auth:
        case Auth.NONE:
            return NoCredential()
        case Auth.PASSTHROUGH:
            return CallerToken()
        case Auth.TOKEN if settings.token:
            return StaticToken(settings.token.get_secret_value())
        case Auth.TOKEN:
            assert settings.token_file is not None
            return TokenFile(settings.token_file, metrics)
        case Auth.AKSK:
            return AccessKeySigner(_access_key(settings), settings.origin)
        case Auth.IAM:
            return IamToken(make_iam_client(settings, tls).fetch_token, announce, metrics)


def make_iam_client(settings: Settings, tls: UpstreamTls) -> IamClient:
    """Return what asks IAM for tokens."""
    return IamClient(settings.iam_origin, _iam_user(settings), tls)


def make_protection(settings: Settings, metrics: Metrics) -> Protection:
    """Return what stands between calls and the upstream, watched by metrics."""
    is_shared = settings.auth is Auth.PASSTHROUGH
    now = asyncio.get_running_loop().time
    rules = _circuit_rules(settings)
    tenants, circuits = Tenants(rules), Circuits(rules)
    turns = Turns(settings.max_in_flight, settings.max_queue, settings.queue_timeout, is_shared=is_shared)
    budget = CommonRetryBudget(now()) if is_shared else RetryBudget(now())
    metrics.watch("upstream_in_flight", "Requests to the upstream under way.", lambda: turns.taken)
    metrics.watch("upstream_in_flight_limit", "How many there may be.", lambda: settings.max_in_flight)
    metrics.watch("upstream_queue", "Calls that wait for a turn at the upstream.", lambda: turns.queued)
    metrics.watch("upstream_queue_limit", "How many may wait.", lambda: settings.max_queue)
    metrics.watch(
        "upstream_circuit_open",
        "1 while the upstream is left alone.",
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
    return Protection(tenants, turns, circuits, budget, silent, settings.retries, fair_time)


def circuit_remark(protection: Protection, settings: Settings, now: float) -> str:
    """Return what operators should know of the circuit, in words."""
    if not settings.circuit:
        return "upstream circuit: off"
    state, left_alone = protection.circuits.state_at(now).value, protection.tenants.left_alone(now)
    if settings.auth is not Auth.PASSTHROUGH or not left_alone:
        return f"upstream circuit: {state}"
    return f"upstream circuit: {state}, open for single credentials: {left_alone}"


def make_pages(
    settings: Settings, fetcher: PageFetcher, conversions: Conversions, credential: Credential, metrics: Metrics
) -> ListedPages:
    """Return where ListRepos gets its pages."""
    cache = None
    if settings.cache_ttl or settings.stale_if_error:
        cache = PageCache(settings.cache_ttl, settings.stale_if_error, time.monotonic)
        metrics.watch("cache_bytes", "Memory of remembered replies.", lambda: cache.size)
    return ListedPages(
        fetcher,
        conversions,
        credential,
        dialect=settings.dialect,
        cache=cache,
        flights=Flights(metrics) if settings.coalesce else None,
        metrics=metrics,
    )


def make_prefetch_budget(settings: Settings, metrics: Metrics) -> ByteBudget:
    """Return the memory for pages that streams fetch ahead, watched by metrics."""
    budget = ByteBudget(settings.prefetch_bytes)
    metrics.watch("prefetched_bytes", "Memory of pages that streams have fetched ahead.", lambda: budget.used)
    return budget


def _circuit_rules(settings: Settings) -> Rules:
    least = settings.circuit_min_requests if settings.circuit else math.inf
    return Rules(settings.circuit_window, least, settings.circuit_ratio)


def _access_key(settings: Settings) -> AccessKey:
    assert settings.access_key is not None
    assert settings.secret_key is not None
    return AccessKey(
        settings.access_key.get_secret_value(),
        settings.secret_key.get_secret_value(),
        settings.security_token.get_secret_value() if settings.security_token else "",
        settings.project_id or "",
    )


def _iam_user(settings: Settings) -> IamUser:
    project = settings.iam_project or settings.region
    assert settings.iam_username is not None
    assert settings.iam_password is not None
    assert settings.iam_domain is not None
    assert project is not None
    return IamUser(settings.iam_username, settings.iam_password.get_secret_value(), settings.iam_domain, project)
