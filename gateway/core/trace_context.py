"""W3C Trace Context: what a caller sends of the trace that its call is part of.

Source: https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

# Neither the version ff nor ids of zeros; versions behind 00 may have more to say.
_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-(?P<flags>[0-9a-f]{2})"
    r"(?P<more>-[!-~]{1,128})?"
)
# The least that everyone must be able to pass on, and nothing that could end a header.
_TRACESTATE = re.compile(r"[ -~]{1,512}")


class TraceContext(NamedTuple):
    """The trace of a call.

    Attributes:
        trace_id: 32 hexadecimal digits; empty where the call is part of none.
        headers: The caller's `traceparent` and `tracestate`, fit to be sent on.
        sampled: Whether the trace is recorded, as far as the caller knows.
    """

    trace_id: str
    headers: Mapping[str, str]
    sampled: bool


NO_TRACE = TraceContext("", {}, sampled=False)


def read_trace_context(metadata: Mapping[str, str]) -> TraceContext:
    """Return the trace that metadata names; what does not keep to the standard counts as none."""
    parent = _TRACEPARENT.fullmatch(metadata.get(TRACEPARENT, ""))
    if parent is None or (parent["version"] == "00" and parent["more"]):
        return NO_TRACE
    headers = {TRACEPARENT: parent[0]}
    state = metadata.get(TRACESTATE, "")
    if _TRACESTATE.fullmatch(state):
        headers[TRACESTATE] = state
    return TraceContext(parent["trace"], headers, sampled=bool(int(parent["flags"], 16) & 1))
