"""A client's channel from entering to leaving it, and what its calls fail of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from swr_gateway_client.call_error import UNREADABLE, CallError, closed_under_call, to_call_error, unreadable_reply
from swr_gateway_client.faults import ConnectionFault
from swr_gateway_client.methods import LIST_REPOS, STREAM_REPOS

# What a channel is in that has no connection, and wants one.
_CONNECTING = {grpc.ChannelConnectivity.CONNECTING, grpc.ChannelConnectivity.TRANSIENT_FAILURE}


class Connection:
    """An open channel; created inside a running event loop.

    Attributes:
        list_repos, stream_repos: Make the calls; their replies are bytes.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.list_repos = channel.unary_unary(*LIST_REPOS)
        self.stream_repos = channel.unary_stream(*STREAM_REPOS)
        self._channel = channel
        self._closed = asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        """Close the channel and cancel the calls that are under way."""
        self._closed.set_result(None)
        await self._channel.close()

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Raise the failures of calls within the block, and of reading their replies, as CallError.

        To gRPC, closing a channel cancels whoever waits for one of its calls. Nobody asked for that: a task group
        would take it for the end of a task that was cancelled, and say nothing. So it is a failure of the call,
        unless the task was cancelled as well.
        """
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise self._explained(error) from error
        except UNREADABLE as error:
            raise unreadable_reply() from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed.done() and not (task and task.cancelling()):
                raise closed_under_call() from None
            raise

    async def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            CallError: The client was closed meanwhile.
        """
        closed, _ = await asyncio.wait((self._closed,), timeout=seconds)
        if closed:
            raise closed_under_call()

    def _explained(self, error: grpc.aio.AioRpcError) -> CallError:
        failure = to_call_error(error)
        bare = failure.code is grpc.StatusCode.DEADLINE_EXCEEDED and not error.trailing_metadata()
        # Of that gRPC says nothing, but the channel knows.
        if bare and self._channel.get_state() in _CONNECTING:
            failure.connection_fault = ConnectionFault.NOT_IN_TIME
        return failure
