"""A client's channel from entering to leaving it, for callers without an event loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from swr_gateway_client.call_error import UNREADABLE, closed_under_call, to_call_error, unreadable_reply
from swr_gateway_client.methods import LIST_REPOS, STREAM_REPOS


class SyncConnection:
    """An open channel, for any number of threads.

    Attributes:
        list_repos, stream_repos: Make the calls; their replies are bytes.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self.list_repos = channel.unary_unary(*LIST_REPOS)
        self.stream_repos = channel.unary_stream(*STREAM_REPOS)
        self._channel = channel
        self._closed = threading.Event()

    def close(self) -> None:
        """Close the channel and cancel the calls that are under way in other threads."""
        self._closed.set()
        self._channel.close()

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Raise the failures of calls within the block, and of reading their replies, as CallError."""
        try:
            yield
        except grpc.RpcError as error:
            if self._closed.is_set() and error.code() is grpc.StatusCode.CANCELLED:
                raise closed_under_call() from None
            raise to_call_error(error) from error
        except UNREADABLE as error:
            raise unreadable_reply() from error
        except ValueError:
            # A call that begins on a channel that was closed a moment before.
            if self._closed.is_set():
                raise closed_under_call() from None
            raise

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            CallError: The client was closed meanwhile.
        """
        if self._closed.wait(seconds):
            raise closed_under_call()
