"""Reads a failed call: its status and the details that came with it."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status


@dataclass
class Failure:
    """What a caller received."""

    code: grpc.StatusCode
    message: str
    details: dict[str, Message]
    trailers: dict[str, str | bytes]

    @property
    def reason(self) -> str:
        return self.info.reason

    @property
    def info(self) -> error_details_pb2.ErrorInfo:
        detail = self.details["ErrorInfo"]
        assert isinstance(detail, error_details_pb2.ErrorInfo)
        return detail

    @property
    def upstream_request_id(self) -> str:
        detail = self.details["RequestInfo"]
        assert isinstance(detail, error_details_pb2.RequestInfo)
        return detail.serving_data

    @property
    def violations(self) -> list[tuple[str, str]]:
        detail = self.details["BadRequest"]
        assert isinstance(detail, error_details_pb2.BadRequest)
        return [(violation.field, violation.description) for violation in detail.field_violations]


async def failure_of(call: grpc.aio.Call) -> Failure:
    """Await a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call  # type: ignore[misc]
    return read_failure(raised.value)


def read_failure(error: grpc.aio.AioRpcError) -> Failure:
    """Read a failed call; every detail comes at most once."""
    trailers = dict(error.trailing_metadata())
    status = Status()
    if isinstance(said := trailers.get("grpc-status-details-bin"), bytes):
        status.ParseFromString(said)
        assert (status.code, status.message) == (error.code().value[0], error.details())
    details: dict[str, Message] = {}
    for packed in status.details:
        name = packed.TypeName().rpartition(".")[2]
        assert name not in details
        details[name] = detail = getattr(error_details_pb2, name)()
        packed.Unpack(detail)
    return Failure(error.code(), error.details() or "", details, trailers)
