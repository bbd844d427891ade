"""How a failed call looks: to a person, and to a program."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from textwrap import wrap

from gateway.cli.terminal import Terminal
from gateway.core.printable import cleaned, escaped
from swr_gateway_client import CallError


def failure_as_text(failure: CallError, hint: str, resume: int, terminal: Terminal | None = None) -> str:
    """Return the lines that tell what happened, what is to be mended, what to quote and, past 0, where to go on.

    Args:
        failure: What happened.
        hint: What is to be mended; empty where nothing is.
        resume: Where to go on, 0 where that is the beginning.
        terminal: Where the lines go, if that is a terminal.
    """
    lines = [*map(cleaned, _lines(failure, hint))]
    if resume:
        lines.append(f"To go on behind what was listed: --resume {resume}")
    if terminal:
        lines = [wrapped for line in lines for wrapped in _wrapped(line, terminal.width)]
        code = failure.code.name
        lines[0] = terminal.paint(code, "red") + lines[0].removeprefix(code)
    return "\n".join(lines)


def failure_as_json(failure: CallError, hint: str, resume: int) -> str:
    """Return the same as one JSON object."""
    error = {
        "code": failure.code.name,
        "message": failure.message,
        "reason": failure.reason,
        "metadata": dict(failure.metadata),
        "violations": [
            {"field": violation.field, "description": violation.description} for violation in failure.violations
        ],
        "retryDelaySeconds": failure.retry_delay,
        "requestId": failure.request_id,
        "upstreamRequestId": failure.upstream_request_id,
        "hint": hint,
        "resume": resume or None,
    }
    return escaped(json.dumps({"error": error}, ensure_ascii=False))


def _wrapped(line: str, width: int) -> list[str]:
    """Return a line in as many as it takes, none of whose words is broken: they may be copied."""
    return wrap(line, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _lines(failure: CallError, hint: str) -> Iterator[str]:
    yield f"{failure.code.name}: {failure.message}"
    if hint:
        yield f"  hint: {hint}"
    if failure.reason:
        known = ", ".join(f"{key} {value}" for key, value in sorted(failure.metadata.items()))
        yield f"  reason: {failure.reason}" + (f" ({known})" if known else "")
    for violation in failure.violations:
        yield f"  {violation.field}: {violation.description}"
    if failure.retry_delay is not None:
        yield f"  try again after: {math.ceil(failure.retry_delay)} s"
    if failure.request_id:
        upstream = f", upstream's {failure.upstream_request_id}" if failure.upstream_request_id else ""
        yield f"  request id: {failure.request_id}{upstream}"
