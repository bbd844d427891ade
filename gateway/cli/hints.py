"""What to look at, or to change on the command line, when a call has failed."""

from __future__ import annotations

import os

import grpc

from gateway.cli.callee import Callee
from swr_gateway_client import CallError, ConnectionFault
from swr_gateway_client.target import is_local

_REMEDIES = {
    ConnectionFault.NO_LISTENER: "is the gateway running, and is --target {target} right?",
    ConnectionFault.NO_SUCH_HOST: "is --target {target} right?",
    ConnectionFault.NOT_IN_TIME: "is --target {target} right, and does every firewall let the connection through?",
    ConnectionFault.NOT_HTTP2: "is --target {target} an address of the gateway's --listen, and not its --admin-listen?",
    ConnectionFault.NOT_TLS: "if --target {target} is right, --no-tls does without",
    ConnectionFault.CERTIFICATE_UNTRUSTED: "--tls-ca names a file with the authority that signed it",
    ConnectionFault.CERTIFICATE_OUTDATED: "it has to be renewed, if this machine's clock is right",
    ConnectionFault.CERTIFICATE_NAME: "--target should have a name that is in it, or else --authority",
    ConnectionFault.UNUSABLE_CREDENTIALS: "see --tls-ca, --tls-cert and --tls-key",
    ConnectionFault.PROXY_REFUSED: "no_proxy, in small letters, names hosts that are called without it",
}

# What hangs up says nothing of why; these are the usual reasons.
_PLAIN = "a port with TLS does so to callers without: try --tls or --tls-ca"
_NO_CERTIFICATE = "a gateway that wants certificates of its callers does so: try --tls-cert and --tls-key"
_CERTIFICATE = "a gateway that does not know the authority of --tls-cert does so"

_SUPPORT = "it is for the upstream's support: quote the request id"

# Where the reason says more than the code.
_BY_REASON = {
    "CREDENTIAL_MISSING": "--token, or better SWR_GATEWAY_TARGET_TOKEN, is the token that is sent",
    "CALLER_NOT_ALLOWED": "give another --tls-cert, or have the gateway's --tls-allowed-sans name this one",
    "UPSTREAM_LEGAL_BLOCK": _SUPPORT,
    "UPSTREAM_STORAGE_EXHAUSTED": _SUPPORT,
}

# Where a gateway, or something in front of it, gave the status.
_BY_CODE = {
    grpc.StatusCode.DEADLINE_EXCEEDED: "no answer in time: --deadline gives it more",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "too much is asked for at the moment: try again later",
    grpc.StatusCode.ABORTED: "something else happens to what is listed: try again",
    grpc.StatusCode.UNAUTHENTICATED: "the credential is wrong, or has expired: give another --token; where it is the "
    "gateway's own, whoever runs it has to mend it",
    grpc.StatusCode.PERMISSION_DENIED: "the credential's user needs the right to list repositories, swr:repo:listRepos",
    grpc.StatusCode.INVALID_ARGUMENT: "see --namespace, --name and --category, --offset and --limit",
    grpc.StatusCode.NOT_FOUND: "see --namespace and --center",
    grpc.StatusCode.OUT_OF_RANGE: "the list ends before --offset, or --resume",
}

# By the field that breaks a rule, where a failure names some.
_FLAGS = {
    "filter.center": "--center",
    "filter.namespace": "--namespace",
    "filter.name": "--name",
    "filter.category": "--category",
    "offset": "--offset",
    "limit": "--limit",
    "start_offset": "--resume",
}

_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")


def hint_at(failure: CallError, callee: Callee) -> str:
    """Return a line, or nothing where the call was cancelled."""
    if failure.connection_fault:
        return f"{failure.connection_fault.value}: {_remedy(failure.connection_fault, callee)}{_by_proxy(callee)}"
    if failure.reason in _BY_REASON:
        return _BY_REASON[failure.reason]
    if failure.code is grpc.StatusCode.UNIMPLEMENTED and not failure.reason:
        return f"what answers there has no gateway.swr.v1.RepoService: is --target {callee.target} the gateway?"
    if failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED and not failure.reason:
        return "over a limit of gRPC's or of a proxy's: the --token may be too long, or calls too many"
    if failure.may_retry or failure.code is grpc.StatusCode.UNAVAILABLE:  # whatever the code of what broke off
        return f"it may pass: try again; if it does not, {_operator(failure)}"
    if failure.code is grpc.StatusCode.CANCELLED:
        return ""
    if failure.code is grpc.StatusCode.INVALID_ARGUMENT and (flags := _flags(failure)):
        return f"see {', '.join(flags)}"
    return _BY_CODE.get(failure.code) or _operator(failure)


def _flags(failure: CallError) -> list[str]:
    """Return the flags that are to blame, each once."""
    return list(dict.fromkeys(_FLAGS[broken.field] for broken in failure.violations if broken.field in _FLAGS))


def _operator(failure: CallError) -> str:
    told = ", whose log has more under the request id" if failure.request_id else ""
    return f"it is for whoever runs the gateway{told}"


def _remedy(fault: ConnectionFault, callee: Callee) -> str:
    if fault is ConnectionFault.HUNG_UP:
        return _PLAIN if not callee.tls else _CERTIFICATE if callee.certificate else _NO_CERTIFICATE
    return _REMEDIES[fault].format(target=callee.target)


def _by_proxy(callee: Callee) -> str:
    """Return the hint that a proxy may have answered in place of the address."""
    used = next((name for name in _PROXIES if os.environ.get(name)), "")
    if not used or is_local(callee.target):
        return ""
    return f" ({used} is set: the connection goes through that proxy, unless no_proxy names the host)"
