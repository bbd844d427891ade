"""What is known of the call that is being served: its id and its metadata."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass

REQUEST_ID = "x-request-id"

# Nothing of a caller's goes upstream or into a log unless it is this plain.
_PLAIN_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)

_current: ContextVar[Call] = ContextVar("call")


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Attributes:
        request_id: The caller's own id of it, or one made here.
        metadata: The caller's metadata, texts only; of a key sent twice, the first value.
    """

    request_id: str
    metadata: Mapping[str, str]


def begin_call(metadata: Iterable[tuple[str, str | bytes]]) -> Call:
    """Make a call known to all that runs on its behalf."""
    texts: dict[str, str] = {}
    for key, value in metadata:
        if isinstance(value, str):
            texts.setdefault(key, value)
    request_id = texts.get(REQUEST_ID, "")
    if not _PLAIN_ID.fullmatch(request_id):
        request_id = f"{random.getrandbits(128):032x}"  # a name, not a secret: no need to ask the kernel
    call = Call(request_id, texts)
    _current.set(call)
    return call


def current_call() -> Call:
    """Return the call that is being served."""
    return _current.get()
