"""The driver in Python: `swr_gateway_client`, and the generated stub on a channel that is opened as its own."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from clients.interop.interop_pb2 import Call, Command, Connect, Outcome, Result, Violation
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from swr_gateway_client import CallError, Client
from swr_gateway_client.call_error import to_call_error
from swr_gateway_client.channel import channel_options, open_channel

_PREFIX = "type.googleapis.com/"


class Connection:
    """A channel to a gateway, and a client beside it.

    Args:
        connect: Where it leads, and how.
    """

    def __init__(self, connect: Connect) -> None:
        options: dict[str, Any] = {}
        if connect.max_reply_bytes:
            options["grpc.max_receive_message_length"] = connect.max_reply_bytes
        if connect.eager_keepalive:
            options |= {"grpc.keepalive_time_ms": 1000, "grpc.http2.max_pings_without_data": 0}
        tls = None
        if connect.ca:
            key, certificate = (_read(path) for path in (connect.key, connect.certificate))
            tls = grpc.ssl_channel_credentials(_read(connect.ca), key, certificate)
        self.channel = open_channel(connect.target, tls, channel_options(connect.target, None, tuple(options.items())))
        self.client = Client(connect.target, token=connect.token or None, tls=tls, options=tuple(options.items()))
        self.metadata = (("x-auth-token", connect.token),) if connect.token else ()

    async def perform(self, call: Call) -> Result:
        """Make a call; return what came of it."""
        result = Result()
        try:
            await self._perform(call, result)
        except grpc.aio.AioRpcError as error:
            _tell(error, result)
        except CallError as failure:
            result.code, result.message, result.reason = failure.code.value[0], failure.message, failure.reason
        except asyncio.CancelledError:
            # Who cancels a call of one's own gets no status.
            result.code = grpc.StatusCode.CANCELLED.value[0]
        return result

    async def _perform(self, call: Call, result: Result) -> None:
        match call.WhichOneof("request"):
            case "list_all":
                pages = self.client.iter_pages(
                    page_size=call.list_all.page_size, timeout=call.timeout_ms / 1000 if call.timeout_ms else None
                )
                async with aclosing(pages):
                    async for page in pages:
                        result.messages.add().ParseFromString(page.SerializeToString())
            case "list":
                method = RepoServiceStub(self.channel).ListRepos
                result.pages.append(await self._unary(method, call.list, call, result))
            case "unknown":
                unknown: Any = self.channel.unary_unary("/gateway.swr.v1.RepoService/Unknown", Empty.SerializeToString)
                await self._unary(unknown, Empty(), call, result)
            case "stream":
                await self._stream(call, result)

    async def _unary(self, method: Callable[..., Any], request: Message, call: Call, result: Result) -> Any:
        under_way = method(request, **self._options(call))
        _cancel_later(under_way, call)
        reply = await under_way
        _tell_metadata([*await under_way.initial_metadata(), *await under_way.trailing_metadata()], result)
        return reply

    async def _stream(self, call: Call, result: Result) -> None:
        under_way = RepoServiceStub(self.channel).StreamRepos(call.stream, **self._options(call))
        _cancel_later(under_way, call)
        async for message in under_way:
            result.messages.append(message)
            if len(result.messages) == call.cancel_after_messages:
                under_way.cancel()
            await asyncio.sleep(call.pause_ms / 1000)
        _tell_metadata([*await under_way.initial_metadata(), *await under_way.trailing_metadata()], result)

    def _options(self, call: Call) -> dict[str, Any]:
        return {
            "metadata": (*self.metadata, *call.metadata.items()),
            "timeout": call.timeout_ms / 1000 if call.timeout_ms else None,
            "wait_for_ready": call.wait_for_ready or None,
            "compression": grpc.Compression.Gzip if call.gzip else None,
        }


def _read(path: str) -> bytes | None:
    return Path(path).read_bytes() if path else None


def _cancel_later(under_way: Any, call: Call) -> None:
    if call.cancel_after_ms:
        asyncio.get_running_loop().call_later(call.cancel_after_ms / 1000, under_way.cancel)


def _tell(error: grpc.aio.AioRpcError, result: Result) -> None:
    """Tell of a failure, as the client reads it."""
    failure = to_call_error(error)
    result.code, result.message = failure.code.value[0], failure.message
    result.reason, result.request_id = failure.reason, failure.request_id
    result.error_metadata.update(failure.metadata)
    result.violations.extend(Violation(field=one.field, description=one.description) for one in failure.violations)
    result.retry_delay_ms = round((failure.retry_delay or 0) * 1000)
    _tell_metadata([*(error.initial_metadata() or ()), *(error.trailing_metadata() or ())], result)
    packed_status = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    assert isinstance(packed_status, bytes)
    for packed in Status.FromString(packed_status).details:
        result.details.append(packed.type_url.removeprefix(_PREFIX))
        info = ErrorInfo()
        if packed.Unpack(info):
            result.domain = info.domain


def _tell_metadata(metadata: list[tuple[str, str | bytes]], result: Result) -> None:
    result.metadata.update({name: value for name, value in metadata if isinstance(value, str)})


async def _lines() -> AsyncIterator[bytes]:
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        yield line


async def main() -> None:
    """Do what is asked for, line by line, to the end of the input."""
    async with AsyncExitStack() as stack:
        connection: Connection | None = None
        async for line in _lines():
            command, outcome = Command.FromString(base64.b64decode(line)), Outcome()
            if command.HasField("connect"):
                await stack.aclose()
                connection = Connection(command.connect)
                await stack.enter_async_context(connection.channel)
                await stack.enter_async_context(connection.client)
            else:
                assert connection
                outcome.results.extend(await asyncio.gather(*map(connection.perform, command.calls.calls)))
            sys.stdout.buffer.write(base64.b64encode(outcome.SerializeToString()) + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    asyncio.run(main())
