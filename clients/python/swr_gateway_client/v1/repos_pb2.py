"""The protocol's messages, made from its descriptor: repos_pb2.pyi says which there are.

This is all that protoc's own code does since protobuf 3.20, but that code refuses any protobuf that is older than the
protoc. The descriptor keeps its file name, so that a process that has the gateway's generated code as well has each
message once.
"""

from pathlib import Path

from google.protobuf import (
    descriptor_pool,
    timestamp_pb2,  # noqa: F401 - the descriptor builds on its own
)
from google.protobuf.internal import builder

DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(Path(__file__).with_name("repos.binpb").read_bytes())

builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, globals())
builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, __name__, globals())
