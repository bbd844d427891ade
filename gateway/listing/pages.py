"""Serialized pages for ListRepos: remembered, shared with identical calls, or fetched."""

from __future__ import annotations

from functools import partial
from hashlib import blake2b
from typing import NamedTuple

from google.rpc import code_pb2

from gateway.core.convert import SerializedPage
from gateway.core.errors import CREDENTIAL_UNAVAILABLE, GatewayError
from gateway.core.filter import Dialect, RepoQuery, request_target
from gateway.credentials.base import Credential
from gateway.listing.conversions import Conversions
from gateway.listing.fetching import PageFetcher
from gateway.metrics import Metrics
from gateway.reliability.cache import CachedPage, PageCache
from gateway.reliability.flights import Flights
from gateway.reliability.progress import Deadline, Progress, within
from gateway.telemetry.call import Call

CACHE_CONTROL = "cache-control"
NO_CACHE = "no-cache"


class ListedPage(NamedTuple):
    """A reply, and where it comes from if not from the upstream just now: `hit; age=N` or `stale; age=N`."""

    page: SerializedPage
    from_cache: str = ""


def _is_of_the_upstream(error: GatewayError) -> bool:
    """Tell whether the upstream is unavailable: without a credential, nobody may say what a caller may see."""
    return error.cause.code == code_pb2.UNAVAILABLE and error.cause is not CREDENTIAL_UNAVAILABLE


class _Wanted(NamedTuple):
    """What a call asks for; calls with equal keys are identical."""

    query: RepoQuery
    target: str
    key: bytes
    call: Call


class ListedPages:
    """Where ListRepos gets its pages.

    What is shared and what is remembered belongs to the credential that it was fetched with: its identity is a part of
    the key.

    Args:
        fetcher: Fetches them.
        conversions: Makes replies of them.
        credential: With which the fetcher signs in.
        dialect: How the upstream wants its filter.
        cache: Those that are remembered; None where none are.
        flights: Those under way; None where calls do not share.
        metrics: Where hits are counted.
    """

    def __init__(
        self,
        fetcher: PageFetcher,
        conversions: Conversions,
        credential: Credential,
        *,
        dialect: Dialect,
        cache: PageCache | None,
        flights: Flights[SerializedPage] | None,
        metrics: Metrics,
    ) -> None:
        self._fetcher = fetcher
        self._conversions = conversions
        self._credential = credential
        self._dialect = dialect
        self._cache = cache
        self._flights = flights
        self._metrics = metrics

    async def get(self, query: RepoQuery, call: Call, deadline: Deadline) -> ListedPage:
        """Return the page of a query.

        A caller that sends `cache-control: no-cache` gets one that was fetched for this very call.

        Raises:
            GatewayError: There is none.
        """
        target = request_target(query, self._dialect)
        # A hash: callers choose how long targets are, and all of them are remembered.
        key = blake2b(target.encode(), digest_size=16, salt=call.identity(self._credential)).digest()
        wanted = _Wanted(query, target, key, call)
        if NO_CACHE in call.metadata.get(CACHE_CONTROL, "").lower():
            return ListedPage(await self._alone(wanted, deadline))
        if self._cache is not None and (cached := self._cache.fresh(wanted.key)):
            return self._from_cache(cached, "hit")
        try:
            return ListedPage(await self._together(wanted, deadline))
        except GatewayError as error:
            if self._cache is None or not _is_of_the_upstream(error):
                raise
            stale = self._cache.stale(wanted.key)
            if stale is None:
                raise
            return self._from_cache(stale, "stale")

    async def _together(self, wanted: _Wanted, deadline: Deadline) -> SerializedPage:
        """Share with identical calls, if calls share."""
        if self._flights is None:
            return await self._alone(wanted, deadline)
        return await self._flights.join(wanted.key, partial(self._load, wanted), deadline, wanted.call.spent)

    async def _alone(self, wanted: _Wanted, deadline: Deadline) -> SerializedPage:
        progress = Progress(deadline)
        try:
            return await within(deadline, progress, self._load(wanted, progress))
        finally:
            wanted.call.spent.add(progress)

    async def _load(self, wanted: _Wanted, progress: Progress) -> SerializedPage:
        asked_at = self._cache.now() if self._cache is not None else 0.0
        answer = await self._fetcher.fetch(wanted.target, wanted.call, progress)
        page = await self._conversions.to_reply(answer, wanted.query.page, progress)
        if self._cache is not None:
            self._cache.store(wanted.key, page, asked_at)
        return page

    def _from_cache(self, cached: CachedPage, how: str) -> ListedPage:
        assert self._cache is not None
        self._metrics.cached_pages.labels(how).inc()
        return ListedPage(cached.page, f"{how}; age={self._cache.age(cached)}")
