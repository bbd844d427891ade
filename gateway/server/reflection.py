"""Server reflection, as v1 and v1alpha. The library has v1alpha only; v1 is the same but for its name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection, reflection_pb2

from gateway.core.service import SERVICE_NAME
from gateway.server.standing import StandingCalls

# Served but not listed: the descriptors of v1 are in no package, so a client that asked for them would get none.
V1 = "grpc.reflection.v1.ServerReflection"


def add_reflection(server: grpc.aio.Server, standing: StandingCalls) -> None:
    """Let clients ask the server what it serves; `standing` ends those who never end themselves."""
    servicer = _ReflectionServicer(standing, (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME))
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in (V1, reflection.SERVICE_NAME):
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method}),))


class _ReflectionServicer(reflection.aio.ReflectionServicer):
    """Adds to the descriptors what Python's lack: the names in JSON, without which clients print `updated_at`."""

    def __init__(self, standing: StandingCalls, services: tuple[str, ...]) -> None:
        super().__init__(services)
        self._standing = standing

    async def ServerReflectionInfo(  # type: ignore[override] # the stubs take a generator for a coroutine
        self, request_iterator: Any, context: Any
    ) -> AsyncIterator[Any]:
        responses: Any = super().ServerReflectionInfo(request_iterator, context)
        with self._standing.standing():
            async for response in responses:
                if response.HasField("file_descriptor_response"):
                    files = response.file_descriptor_response.file_descriptor_proto
                    files[:] = [_with_json_names(file) for file in files]
                yield response


def _with_json_names(serialized: bytes) -> bytes:
    file = FileDescriptorProto.FromString(serialized)
    _name(file.message_type)
    return file.SerializeToString()


def _name(messages: Iterable[DescriptorProto]) -> None:
    for message in messages:
        for field in message.field:
            first, *others = field.name.split("_")
            field.json_name = first + "".join(word[:1].upper() + word[1:] for word in others)
        _name(message.nested_type)
