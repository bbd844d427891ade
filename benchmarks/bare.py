"""What a call is made of, bare: an upstream of ready answers, a gRPC echo of ready bytes, a client that parses nothing.

Run as `python -m benchmarks.bare upstream [COUNT [LATENCY]]`, `... echo`, or `... client URL LIMIT COUNT CONCURRENCY`.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import grpc
from yarl import URL

from benchmarks.pages import convert, encode, encode_row, records
from gateway.core.convert import PageConverter
from gateway.swr.v1 import repos_pb2

LIMITS = (10, 100, 1000)
METHOD = "/gateway.swr.v1.RepoService/ListRepos"


def target(limit: int, offset: int) -> str:
    """Return the request target that the gateway would send."""
    return f"/v2/manage/repos?filter=center%3A%3Aself%7Coffset%3A%3A{offset}%7Climit%3A%3A{limit}"


class _Upstream(asyncio.Protocol):
    """Answers each request with the page that its target asks for, from rows made once."""

    def __init__(self, rows: list[bytes], latency: float) -> None:
        self._rows = rows
        self._latency = latency

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for offset, limit in re.findall(rb"offset%3A%3A(\d+)%7Climit%3A%3A(\d+) HTTP", data):
            answer = self._answer(int(offset), int(limit))
            if self._latency:
                asyncio.get_running_loop().call_later(self._latency, self.transport.write, answer)
            else:
                self.transport.write(answer)

    def _answer(self, offset: int, limit: int) -> bytes:
        rows = self._rows[offset : offset + limit]
        body = b"[%b]" % b",".join(rows)
        position = f"{offset}-{len(rows)}/{len(self._rows)}"
        head = f"HTTP/1.1 200 OK\r\nContent-Range: {position}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


async def serve_upstream(count: int = max(LIMITS) + 8, latency: float = 0.0) -> None:
    rows = [encode_row(record) for record in records(count)]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Upstream(rows, latency), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


async def serve_echo() -> None:
    replies = {limit: convert(PageConverter(0), encode(records(limit)), limit) for limit in LIMITS}

    async def list_repos(request: bytes, _: object) -> bytes:
        return replies[repos_pb2.ListReposRequest.FromString(request).limit]

    server, address = await start_server(list_repos)
    print(address, flush=True)
    await server.wait_for_termination()


async def start_server(list_repos: Callable[[bytes, object], Awaitable[bytes]]) -> tuple[grpc.aio.Server, str]:
    """Start a server of bytes; return it, and where it listens."""
    server = grpc.aio.server()
    service, _, method = METHOD[1:].rpartition("/")
    handler = grpc.method_handlers_generic_handler(service, {method: grpc.unary_unary_rpc_method_handler(list_repos)})
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}"


async def run_client(url: str, limit: int, count: int, concurrency: int) -> None:
    urls = [URL(url + target(limit, offset), encoded=True) for offset in range(8)]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def work(calls: int) -> None:
            for number in range(calls):
                async with session.get(urls[number % len(urls)]) as response:
                    await response.read()

        await work(50)
        start = time.process_time()
        await asyncio.gather(*(work(count // concurrency) for _ in range(concurrency)))
        print((time.process_time() - start) / (count // concurrency * concurrency), flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["upstream", *numbers]:
            asyncio.run(serve_upstream(*map(int, numbers[:1]), *map(float, numbers[1:])))
        case ["echo"]:
            asyncio.run(serve_echo())
        case ["client", url, *numbers]:
            asyncio.run(run_client(url, *map(int, numbers)))
