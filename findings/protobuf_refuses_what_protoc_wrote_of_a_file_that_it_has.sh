#!/usr/bin/env bash
# protobuf 7, Python: the pool of a generated module refuses the descriptor that protoc wrote of the same file.
#
# A file that a pool has may be added again, and the same FileDescriptor comes back. protoc makes both the generated module and, by
# `--descriptor_set_out`, a descriptor of the file; yet who adds the second where the first is imported gets a TypeError. The set
# has the `json_name` of each field, although it is the one that the field has anyway, the module has not, and the C implementation
# (upb) takes the two for different files. With the names cleared the file is taken. The pure Python implementation takes both.
#
# Seen with protobuf 7.36.2 and the protoc of grpcio-tools 1.85.1 on CPython 3.11 and Linux: the module's own bytes give its own
# class; protoc's "Couldn't build proto file into descriptor pool: duplicate file name item.proto". Fails should that change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check protobuf==7.36.2 grpcio-tools==1.85.1
cat >item.proto <<'PROTO'
syntax = "proto3";
package shop;
message Item { int64 unit_price = 1; }
PROTO
venv/bin/python -m grpc_tools.protoc -I. --python_out=. --descriptor_set_out=item.binpb item.proto
cat >look.py <<'PYTHON'
import sys
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import api_implementation

import item_pb2


def add(file: bytes) -> str:
    """Add a file to the pool that has the module's; return what comes of it."""
    try:
        added = descriptor_pool.Default().AddSerializedFile(file)
    except TypeError as error:
        return str(error)
    item = message_factory.GetMessageClass(added.message_types_by_name["Item"])
    return "the module's own class" if item is item_pb2.Item else "another class"


(written,) = descriptor_pb2.FileDescriptorSet.FromString(Path("item.binpb").read_bytes()).file
field = written.message_type[0].field[0]
assert field.json_name == item_pb2.Item.DESCRIPTOR.fields_by_name["unit_price"].json_name == "unitPrice"
seen = {"the module's": add(item_pb2.DESCRIPTOR.serialized_pb), "protoc's": add(written.SerializeToString())}
field.ClearField("json_name")
seen["protoc's, without json_name"] = add(written.SerializeToString())
print(f"{api_implementation.Type()}:", seen)
taken = "the module's own class"
refused = "Couldn't build proto file into descriptor pool: duplicate file name item.proto"
expected = [taken, refused if api_implementation.Type() == "upb" else taken, taken]
assert api_implementation.Type() == sys.argv[1] and list(seen.values()) == expected, seen
PYTHON
venv/bin/python look.py upb
PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python venv/bin/python look.py python
