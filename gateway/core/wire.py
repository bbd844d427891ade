"""The one piece of protobuf's wire format that is written by hand: the frame around a text or a message."""

from __future__ import annotations


def encode_length_delimited(tag: bytes, content: bytes) -> bytes:
    """Encode a field that holds a text or a message: its tag, the content's length as a varint, the content."""
    length = len(content)
    if length < 0x80:
        return b"%b%c%b" % (tag, length, content)
    if length < 0x4000:
        return b"%b%c%c%b" % (tag, length & 0x7F | 0x80, length >> 7, content)
    varint = bytearray()
    while length >= 0x80:
        varint.append(length & 0x7F | 0x80)
        length >>= 7
    varint.append(length)
    return tag + bytes(varint) + content
