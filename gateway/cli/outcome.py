"""What came of the request of `check-config --call`, in lines for people."""

from __future__ import annotations

import grpc

from gateway.cli.failure import failure_as_text
from gateway.cli.remedies import remedy
from gateway.cli.terminal import Terminal
from gateway.core.errors import GatewayError
from gateway.core.iam_messages import describe
from gateway.core.printable import cleaned
from gateway.core.rpc_status import to_rpc_status
from gateway.server.preflight import Outcome
from gateway.settings.model import Auth
from gateway.swr.v1 import repos_pb2
from swr_gateway_client import CallError
from swr_gateway_client.call_error import to_call_error

_CODES = {code.value[0]: code for code in grpc.StatusCode}


def answer_as_text(outcome: Outcome, reply: repos_pb2.ListReposResponse) -> str:
    """Return the line that tells of an answer: a comment for those who keep the settings above it as a file."""
    if reply.HasField("content_range"):
        found = f"{reply.content_range.total} repositories in all"
    else:
        found = f"{len(reply.repos)} of the repositories; the upstream does not tell how many there are"
    return f"# one request to {outcome.origin}: OK in {outcome.seconds * 1000:.0f} ms: {found}"


def failure_with_remedy(outcome: Outcome, error: GatewayError, auth: Auth, terminal: Terminal | None) -> str:
    """Return the lines that tell of a failure, and what to mend; coloured where they go to a terminal."""
    who = "IAM" if outcome.is_of_iam else "the upstream"
    failure = _told(error, outcome.request_id)
    if outcome.is_of_iam:
        failure.message = describe(error)
    told = failure_as_text(failure, hint="", resume=0, terminal=terminal)
    if error.detail:
        told += f"\n  detail: {cleaned(error.detail)}"
    to_mend = remedy(error.cause.reason, auth, is_of_iam=outcome.is_of_iam)
    return (
        f"error: one request to {who}, {outcome.origin}, with auth={auth.value} failed after "
        f"{outcome.seconds * 1000:.0f} ms\n"
        f"{told}\n"
        f"  to mend: {to_mend}"
    )


def _told(error: GatewayError, request_id: str) -> CallError:
    """Return what a caller would be told, and would make of it."""
    status = to_rpc_status(error, request_id)
    trailers = grpc.aio.Metadata(("grpc-status-details-bin", status.details))
    return to_call_error(grpc.aio.AioRpcError(_CODES[status.code], grpc.aio.Metadata(), trailers, status.message))
