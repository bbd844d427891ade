"""docs/errors.md, made of the tables of causes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.rpc import code_pb2

from docs.generate.markdown import code, prose, table
from gateway.core import errors, status
from gateway.core.errors import Cause, Retry

_BEGINNING = """\
<!-- `make docs` writes this page; what it says of a reason is in gateway/core/errors.py and status.py. -->
# Errors

Every failed call carries a `google.rpc.Status`:

- always an `ErrorInfo`: its domain is `gateway.swr.v1`, its reason one of those below, and its metadata `httpStatus`,
  `upstreamCode`, `attempts` and `phase`, as far as they are known;
- and a `RequestInfo`: the gateway's request id, and as serving data the upstream's;
- where it applies a `BadRequest` that names the fields, a `RetryInfo` with the trailer `grpc-retry-pushback-ms`, a
  `QuotaFailure`.

The message is the upstream's own text where it has one, and else the gateway's. A failure without these
details is [not the gateway's](#without-a-reason).

**Retry `UNAVAILABLE` only**, once the pushback is over; [`service-config.json`](service-config.json) makes a gRPC
client do so. What the gateway itself sends again is in the last column: within the call's deadline and a budget, as
[reliability.md](reliability.md#retries) says. A 401 is sent once more, with a new token, where
`AUTH` is `iam`, or `token` with a file that has changed.
"""

_WITHOUT = """
## Without a reason

A failure without `ErrorInfo` is not the gateway's answer. The client library, gRPC itself or a proxy ended the call:

| code | when |
| --- | --- |
| UNAVAILABLE | no connection to the gateway, or one that broke; rarely, a call at the end of a drain |
| CANCELLED | the call came just as the gateway stopped accepting calls (set `DRAIN_DELAY`); the caller did not read |
| UNIMPLEMENTED | the gateway has no such method |
| RESOURCE_EXHAUSTED | a request over 64 KiB, metadata over 32 KiB, or a reply over the client's own limit |
"""

_OF_CODES = """
## By the upstream's own code

SWR's codes and the API gateway's say more than their HTTP status. A code refines an answer below 500; from 500 on the
upstream is to blame, whatever its body says. `APIG.` is looked up as `APIGW.`.

"""
_RETRIES = {
    Retry.NEVER: "no",
    Retry.ONCE: "once",
    Retry.FREELY: "up to `RETRIES` times",
    Retry.IF_RETRY_AFTER: "where the upstream says how long to wait",
}
_STATUSES = range(200, 600)


def errors_page() -> str:
    """Return the page."""
    own, upstream = _by_reason(errors, upstream=False), _by_reason(errors, status, upstream=True)
    return "".join(
        (
            _BEGINNING,
            "\n## Of the call, and of the gateway\n\n",
            table(("reason", "code", "when", "sent again"), (_row(causes) for causes in own)),
            "\n## Of the upstream\n\n",
            table(
                ("reason", "code", "when", "HTTP status", "sent again"),
                ((*row[:3], _statuses(causes), row[3]) for causes in upstream for row in (_row(causes),)),
            ),
            _OF_CODES,
            table(("reason", "codes", "field"), _codes()),
            _WITHOUT,
        )
    )


def _by_reason(*modules: object, upstream: bool) -> list[list[Cause]]:
    """Return the causes of one side, those of a reason together."""
    causes: dict[str, list[Cause]] = {}
    for module in modules:
        for cause in vars(module).values():
            if isinstance(cause, Cause) and cause.reason.startswith("UPSTREAM_") == upstream:
                known = causes.setdefault(cause.reason, [])
                known += [] if cause in known else [cause]
    return list(causes.values())


def _row(causes: list[Cause]) -> tuple[str, str, str, str]:
    codes = dict.fromkeys(code_pb2.Code.Name(cause.code) for cause in causes)
    texts = dict.fromkeys(cause.when or cause.message for cause in causes)
    retries = dict.fromkeys(_RETRIES[cause.retry] for cause in causes)
    return code(causes[0].reason), ", ".join(codes), prose("; ".join(texts)), ", ".join(retries)


def _statuses(causes: list[Cause]) -> str:
    """Return the HTTP statuses that mean one of these causes, without a code that says otherwise."""
    named = [str(number) for number, cause in status.HTTP_STATUSES.items() if cause in causes]
    others = [f"any other {kind}xx" for kind in (2, 3, 4, 5) if status.find_cause(_unnamed(kind)) in causes]
    return ", ".join((*named, *others))


def _unnamed(kind: int) -> int:
    """Return a status that no line of the table is about, by its first digit."""
    return next(
        number
        for number in _STATUSES
        if number // 100 == kind and number not in status.HTTP_STATUSES and not status.is_page(number)
    )


def _codes() -> Iterator[tuple[str, str, str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for codes in (status.CLIENT_ERROR_CODES, status.SERVER_ERROR_CODES):
        for name, cause in codes.items():
            found.setdefault((cause.reason, cause.field), []).append(name)
    for (reason, field), names in sorted(found.items()):
        yield code(reason), _listed(names), code(field)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(code, dict.fromkeys(names)))
