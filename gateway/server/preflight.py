"""One request to the upstream, made of the settings as a call's would be: whether calls can be answered."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

from gateway.core.convert import PageConverter
from gateway.core.errors import GatewayError
from gateway.core.filter import RepoQuery, read_list_request, request_target
from gateway.core.tokens import CALLER_TOKEN
from gateway.credentials.base import AuthHeaders, with_token
from gateway.listing.conversions import Conversions
from gateway.metrics import Metrics
from gateway.reliability.deadline import Deadline
from gateway.reliability.progress import Progress
from gateway.server.composition import upstream_tls
from gateway.server.credential_factory import make_credential, make_iam_client
from gateway.settings.model import Auth, Settings
from gateway.swr.v1 import repos_pb2
from gateway.threads import leave_threads_behind
from gateway.upstream.client import UpstreamClient
from gateway.upstream.tls import UpstreamTls


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Attributes:
        origin: Who was asked last: the upstream, or IAM where it gave no token for that.
        is_of_iam: Whether that was IAM.
        request_id: What the request to the upstream was called.
        seconds: How long the last one asked took.
        answer: The reply, or the failure, as a caller would be told it.
    """

    origin: str
    is_of_iam: bool
    request_id: str
    seconds: float
    answer: repos_pb2.ListReposResponse | GatewayError


async def ask_once(settings: Settings, caller_token: str) -> Outcome:
    """Ask the upstream for one repository.

    No request is sent again, whatever came of it: a cloud locks keys and accounts for refusals.

    Args:
        settings: Those of the gateway.
        caller_token: What a caller would send, for `passthrough`.

    Raises:
        BadFileError: A file that the settings name cannot be used.
    """
    leave_threads_behind()
    metrics = Metrics()
    tls = upstream_tls(settings, metrics)
    query = read_list_request(repos_pb2.ListReposRequest(offset=0, limit=1))
    request_id = f"{random.getrandbits(128):032x}"
    began = time.perf_counter()
    try:
        auth_headers = await _auth_headers(settings, tls, query, caller_token, metrics)
    except GatewayError as error:
        is_of_iam = settings.auth is Auth.IAM
        origin = settings.iam_origin if is_of_iam else settings.origin
        return Outcome(origin, is_of_iam, request_id, time.perf_counter() - began, error)
    began = time.perf_counter()
    answer: repos_pb2.ListReposResponse | GatewayError
    try:
        answer = await _list(settings, tls, query, auth_headers, request_id, metrics)
    except GatewayError as error:
        answer = error
    return Outcome(settings.origin, False, request_id, time.perf_counter() - began, answer)


async def _auth_headers(
    settings: Settings, tls: UpstreamTls, query: RepoQuery, caller_token: str, metrics: Metrics
) -> AuthHeaders:
    """Sign the request in. Why IAM gives no token is told in its own words, which calls are not told."""
    if settings.auth is Auth.IAM:
        return with_token((await make_iam_client(settings, tls).fetch_token()).value)
    credential = make_credential(settings, tls, _nobody_is_told, metrics)
    return await credential.auth_headers(request_target(query, settings.dialect), {CALLER_TOKEN: caller_token})


async def _list(
    settings: Settings, tls: UpstreamTls, query: RepoQuery, auth_headers: AuthHeaders, request_id: str, metrics: Metrics
) -> repos_pb2.ListReposResponse:
    upstream = UpstreamClient(
        settings.origin,
        tls,
        attempt_timeout=settings.attempt_timeout,
        max_response_bytes=settings.max_response_bytes,
    )
    deadline = Deadline(asyncio.get_running_loop().time() + settings.timeout, by_caller=False)
    progress = Progress(lambda: deadline)
    async with upstream:
        answer = await upstream.get(
            request_target(query, settings.dialect),
            headers={"X-Request-Id": request_id, **auth_headers.headers},
            secrets=auth_headers.secrets,
            progress=progress,
        )
    page = await Conversions(PageConverter(0), metrics).to_reply(answer, query.page, progress.timings)
    return repos_pb2.ListReposResponse.FromString(page.message)


async def _nobody_is_told(available: bool) -> None:
    """Ignore whether there is a token: the outcome tells."""
