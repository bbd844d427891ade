"""How many connections and calls have reached gRPC, as channelz knows of them, whether or not it is served."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from grpc_channelz.v1 import channelz_pb2
from grpc_channelz.v1.channelz import ChannelzServicer

_channelz = cast("Any", ChannelzServicer)  # the stubs want a context, of which nothing is asked


def count_connections() -> int:
    """Return the connections to all servers of this process: some 50 microseconds each, for the thread that asks."""
    return sum(map(_count_sockets, _server_ids()))


def newest_server() -> int:
    """Return the number of the server that this process has made last."""
    return max(_server_ids())


def count_calls(server_id: int) -> int:
    """Return the calls that have reached a server: those too that it has not handed over yet, or never will."""
    found = _channelz.GetServer(channelz_pb2.GetServerRequest(server_id=server_id), None)
    return int(found.server.data.calls_started)


def _server_ids() -> Iterator[int]:
    """Yield the servers, page by page: those that have stopped, and are not collected yet, are told of too."""
    request = channelz_pb2.GetServersRequest()
    while True:
        page = _channelz.GetServers(request, None)
        yield from (server.ref.server_id for server in page.server)
        if page.end or not page.server:
            return
        request.start_server_id = page.server[-1].ref.server_id + 1


def _count_sockets(server_id: int) -> int:
    request = channelz_pb2.GetServerSocketsRequest(server_id=server_id)
    count = 0
    while True:
        page = _channelz.GetServerSockets(request, None)
        count += len(page.socket_ref)
        if page.end or not page.socket_ref:
            return count
        request.start_socket_id = page.socket_ref[-1].socket_id + 1
