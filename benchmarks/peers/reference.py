"""What a reply must be, read of the upstream's page by `json_format`: slow, well known, and nothing of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import aiohttp
import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from yarl import URL

from benchmarks.bare import target
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub

NAMESPACE = "team-01"


def request(limit: int, offset: int) -> repos_pb2.ListReposRequest:
    """Return a request as those of the load are."""
    chosen = repos_pb2.RepoFilter(center=repos_pb2.CENTER_SELF, namespace=NAMESPACE)
    return repos_pb2.ListReposRequest(filter=chosen, offset=offset, limit=limit)


async def expected(upstream: str, limit: int, offset: int) -> repos_pb2.ListReposResponse:
    """Ask the upstream itself, and return what a gateway must make of its answer."""
    async with aiohttp.ClientSession() as session, session.get(_url(upstream, limit, offset)) as response:
        response.raise_for_status()
        return reply(await response.text(), response.headers["Content-Range"])


def reply(page: str, content_range: str) -> repos_pb2.ListReposResponse:
    """Return the reply for a page and its header."""
    made = repos_pb2.ListReposResponse()
    json_format.ParseDict({"repos": json.loads(page)}, made, ignore_unknown_fields=True)
    position = made.content_range
    position.offset, position.count, position.total = map(int, re.split("[-/]", content_range))
    return made


async def wrong(address: str, upstream: str, limit: int, offset: int) -> list[str]:
    """Make a call, and return the fields of the reply that are not as they must be."""
    async with grpc.aio.insecure_channel(address) as channel:
        got = await RepoServiceStub(channel).ListRepos(request(limit, offset), timeout=60)
    return list(differences(await expected(upstream, limit, offset), got))


def differences(wanted: Message, got: Message, path: str = "") -> Iterator[str]:
    """Yield the fields that differ, by path."""
    for field in wanted.DESCRIPTOR.fields:
        name = f"{path}{field.name}"
        ours, theirs = getattr(wanted, field.name), getattr(got, field.name)
        if field.message_type is None:
            if ours != theirs:
                yield f"{name} is {theirs!r} and not {ours!r}"
        elif not field.is_repeated:
            if wanted.HasField(field.name) != got.HasField(field.name):
                yield f"{name} is set on one side only"
            yield from differences(ours, theirs, f"{name}.")
        elif len(ours) != len(theirs):
            yield f"{name} are {len(theirs)} and not {len(ours)}"
        else:
            for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
                yield from differences(one, other, f"{name}[{number}].")


def _url(upstream: str, limit: int, offset: int) -> URL:
    return URL(upstream + target(limit, offset), encoded=True)
