"""Both clients, against the gateway itself: a process in front of the embedded upstream."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import grpc
import pytest

from commands import Start
from in_threads import AnyClient, Kind
from swr_gateway_client import CENTER_THIRD_PARTY, CallError, ContentRange

CANARY = "canary-4711"

Connected: TypeAlias = Callable[..., Awaitable[AnyClient]]


@pytest.fixture
async def connected(kind: Kind, start: Start) -> AsyncIterator[Connected]:
    """Open a client of a gateway; give it the token that the upstream wants, and arguments of the client."""
    async with AsyncExitStack() as stack:

        async def connect(upstream_token: str = "", **arguments: Any) -> AnyClient:
            upstream = await start("simulate", "--listen", "127.0.0.1:0", "--token", upstream_token)
            url = await upstream.prints(r"on (http://\S+)")
            auth = "passthrough" if upstream_token else "none"
            gateway = await start("serve", "--listen", "127.0.0.1:0", "--upstream-url", url, "--auth", auth)
            target = await gateway.logs(r"^serving on ([\d.:]+)")
            return await stack.enter_async_context(kind(target, **arguments))

        yield connect


async def failure_of(call: Awaitable[object]) -> CallError:
    with pytest.raises(CallError) as raised:
        await call
    return raised.value


async def test_a_page_comes_through(connected: Connected) -> None:
    page = await (await connected()).list_repos(namespace="root", offset=0, limit=10)
    assert [(repo.namespace, repo.name, repo.size) for repo in page.repos] == [("root", "nginx", 200977474)]
    assert page.repos[0].updated_at.ToJsonString() == "2017-09-11T03:00:02.542841141Z"
    assert page.content_range == ContentRange(offset=0, count=1, total=1)


async def test_a_page_always_says_of_how_many_it_is(connected: Connected) -> None:
    client = await connected()
    for page, offset, limit in [
        (await client.list_repos(), 0, 100),
        (await client.list_repos(limit=3), 0, 3),
        (await client.list_repos(offset=5), 5, 100),
    ]:
        assert len(page.repos) == limit
        assert page.content_range == ContentRange(offset=offset, count=limit, total=256)


async def test_every_clause_of_the_filter_counts_and_a_center_is_a_word_or_the_enums(connected: Connected) -> None:
    client = await connected()
    for center in ("thirdparty", CENTER_THIRD_PARTY):
        page = await client.list_repos(center=center, namespace="partner", name="untime", category="framework_app")
        assert [repo.name for repo in page.repos] == ["sdk/runtime"]


async def test_the_whole_list_comes_in_order(connected: Connected) -> None:
    client = await connected()
    page = await client.list_repos(limit=1000)
    assert [repo async for repo in client.iter_repos(page_size=100)] == list(page.repos)
    assert [repo async for one in client.iter_pages(start_offset=250) for repo in one.repos] == list(page.repos[250:])


async def test_a_refused_call_tells_everything(connected: Connected) -> None:
    client = await connected()
    failure = await failure_of(client.list_repos(namespace="a|b", limit=0, offset=-1))
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert {violation.field for violation in failure.violations} == {"filter.namespace", "limit", "offset"}
    assert all(violation.description.startswith("must ") for violation in failure.violations)
    assert re.fullmatch(r"\w+", failure.request_id)
    assert isinstance(failure.__cause__, grpc.RpcError)
    assert str(failure) == f"INVALID_ARGUMENT: {failure.message} (INVALID_REQUEST)"


async def test_a_failure_of_the_upstream_carries_its_own_ids(connected: Connected) -> None:
    failure = await failure_of((await connected("right", token="wrong")).list_repos())
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UPSTREAM_CREDENTIAL_REJECTED")
    assert failure.metadata["httpStatus"] == "401"
    assert failure.upstream_request_id.startswith("sim-")


async def test_the_token_lets_in(connected: Connected) -> None:
    assert len((await (await connected(CANARY, token=CANARY)).list_repos()).repos) == 100
