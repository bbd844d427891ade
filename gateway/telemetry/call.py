"""The record of a call while it is served: who asks for what, with which identity, and what became of it so far."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

from gateway.core.tenants import Tenant
from gateway.core.trace_context import TRACESTATE
from gateway.credentials.base import Credential
from gateway.reliability.cache import CacheInfo
from gateway.reliability.timings import Timings
from gateway.telemetry.tracing import CallTrace, Tracing

REQUEST_ID = "x-request-id"

# Nothing of a caller's goes upstream or into a log unless it is this plain.
_PLAIN_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)

_current: ContextVar[Call] = ContextVar("call")


@dataclass(slots=True)
class Call:
    """One call.

    Attributes:
        method: Its full name, such as `gateway.swr.v1.RepoService/ListRepos`.
        request_id: The caller's own id of it, or one made here.
        metadata: The caller's metadata, texts only; of a key sent twice, the first value, but for `tracestate`.
        trace: What it is part of.
        began: When it came, on `time.perf_counter`.
        received: Bytes of its request; None where nobody counts them.
        sent: Bytes of its replies; None where nobody counts them.
        rows: Repositories that it was given.
        from_cache: How its reply was remembered; None where it was fetched for it.
        timings: What it took at the upstream, all its pages together.
        tenant: Whose credential it uses, once it is known.
    """

    method: str
    request_id: str
    metadata: Mapping[str, str]
    trace: CallTrace
    began: float = field(default_factory=time.perf_counter)
    received: int | None = None
    sent: int | None = None
    rows: int = 0
    from_cache: CacheInfo | None = None
    timings: Timings = field(default_factory=Timings)
    tenant: Tenant | None = None
    _identity: bytes | None = None

    def identity(self, credential: Credential) -> bytes:
        """Return whose rights it has: the hash of a long token is not made twice."""
        if self._identity is None:
            self._identity = credential.identity(self.metadata)
        return self._identity


def begin_call(method: str, metadata: Iterable[tuple[str, str | bytes]], tracing: Tracing) -> Call:
    """Make a call known to all that runs on its behalf."""
    texts: dict[str, str] = {}
    for key, value in metadata:
        if isinstance(value, str):
            # What other tracers add to it may come in a header of their own (W3C Trace Context, section 3.3).
            texts[key] = f"{texts[key]},{value}" if key == TRACESTATE and key in texts else texts.get(key, value)
    request_id = texts.get(REQUEST_ID, "")
    if not _PLAIN_ID.fullmatch(request_id):
        request_id = f"{random.getrandbits(128):032x}"  # a name, not a secret: no need to ask the kernel
    call = Call(method, request_id, texts, tracing.begin_call(method, texts, request_id))
    _current.set(call)
    return call


def current_call() -> Call:
    """Return the call that is being served."""
    return _current.get()
