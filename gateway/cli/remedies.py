"""What to mend where a request of `check-config --call` failed, by the reason of the failure."""

from __future__ import annotations

from gateway.settings.model import Auth

_REJECTED = "UPSTREAM_CREDENTIAL_REJECTED"
_LATER = "nothing of the settings is to blame: try again later, and quote the request id to the upstream's support"
_WRONG_HOST = "this is not the address of SWR's API: check {url}, --region and --dialect"
_WRONG_IAM = "this is not IAM's address: check {url} and --region"

_BY_CREDENTIAL = {
    Auth.NONE: "the upstream wants a credential: give --auth",
    Auth.PASSTHROUGH: "the token is wrong, has expired, or is another region's: get a new one",
    Auth.TOKEN: "the token is wrong, has expired, or is another region's: get a new one",
    Auth.IAM: "the token came from IAM just now: check that --iam-project is a project of the upstream's region",
    Auth.AKSK: (
        "check SWR_GATEWAY_ACCESS_KEY, SWR_GATEWAY_SECRET_KEY, --region, and this machine's clock, which may be 15 "
        "minutes off; five refusals in a row lock the key for five minutes"
    ),
}
_OF_IAM = {
    _REJECTED: (
        "check --iam-username, SWR_GATEWAY_IAM_PASSWORD and --iam-domain, which is the account's name; IAM locks users "
        "out who are refused too often"
    ),
    "UPSTREAM_PERMISSION_DENIED": "the user may not sign in by password: allow programmatic access, or use --auth aksk",
    "UPSTREAM_INVALID_ARGUMENT": "check --iam-project, which is the project's name, such as cn-north-4",
    "UPSTREAM_TIMEOUT": "check the way to IAM, which has 10 s to answer",
    "UPSTREAM_PROTOCOL": "check that {url} has the right scheme and port: what answers there is not HTTP, or not IAM",
    "UPSTREAM_NOT_FOUND": _WRONG_IAM,
    "UPSTREAM_MISCONFIGURED": _WRONG_IAM,
    "UPSTREAM_REJECTED_REQUEST": _WRONG_IAM,
    "UPSTREAM_UNIMPLEMENTED": _WRONG_IAM,
    "UPSTREAM_OFFSET_OUT_OF_RANGE": _WRONG_IAM,
    "UPSTREAM_RESPONSE_TOO_LARGE": _WRONG_IAM,
    "UPSTREAM_MALFORMED_RESPONSE": "this is not IAM's address, or its clock differs: check {url} and the time",
}
_BY_REASON = {
    "CREDENTIAL_MISSING": "give a caller's token: --caller-token, or the variable SWR_GATEWAY_TOKEN",
    "UPSTREAM_UNREACHABLE": (
        "check {url} and --region, the DNS, and firewalls on the way; proxies of the environment are not used"
    ),
    "UPSTREAM_TIMEOUT": "check the way to the upstream, or give --attempt-timeout more",
    "UPSTREAM_CONNECTION_LOST": "check that {url} has the right scheme and port, and what is on the way to it",
    "UPSTREAM_TLS_FAILED": "check that {url} speaks TLS, and whether it wants --upstream-client-cert",
    "UPSTREAM_TLS_UNTRUSTED": (
        "give --upstream-ca the CA certificates of the upstream, and {url} the name in its certificate"
    ),
    "UPSTREAM_PROTOCOL": "check that {url} has the right scheme and port: what answers there is not HTTP, or not SWR",
    "UPSTREAM_REDIRECT": "give {url} where the upstream really is: redirects are not followed",
    "UPSTREAM_INTERCEPTED": "a proxy or portal is in the way: the gateway needs a direct one",
    "UPSTREAM_NOT_FOUND": _WRONG_HOST,
    "UPSTREAM_MISCONFIGURED": _WRONG_HOST,
    "UPSTREAM_MALFORMED_RESPONSE": (
        "check {url}, --region and --dialect: what answers there may not be SWR's API; "
        "if it is, its support has to mend it"
    ),
    "UPSTREAM_REJECTED_REQUEST": _WRONG_HOST,
    "UPSTREAM_UNIMPLEMENTED": _WRONG_HOST,
    "UPSTREAM_INVALID_ARGUMENT": "the upstream reads filters in another way: try another --dialect",
    "UPSTREAM_OFFSET_OUT_OF_RANGE": "the upstream reads filters in another way: try another --dialect",
    "UPSTREAM_PERMISSION_DENIED": "allow the credential's user the action swr:repo:listRepos",
    "UPSTREAM_RESPONSE_TOO_LARGE": "give --max-response-bytes more, if this is SWR: one row was asked for",
    "UPSTREAM_RATE_LIMITED": "wait, and look at who else uses this account's quota",
    "UPSTREAM_LEGAL_BLOCK": "ask the upstream's support: it may not answer for legal reasons",
    "UPSTREAM_STORAGE_EXHAUSTED": "ask the upstream's support: its storage is full",
}


def remedy(reason: str, auth: Auth, *, is_of_iam: bool) -> str:
    """Return what to mend.

    Args:
        reason: Of the failure, as in docs/errors.md.
        auth: How the gateway signs in.
        is_of_iam: Whether IAM failed, rather than the upstream.
    """
    if is_of_iam:
        text = _OF_IAM.get(reason) or _BY_REASON.get(reason, _LATER).replace("the upstream", "IAM")
    else:
        text = _BY_CREDENTIAL[auth] if reason == _REJECTED else _BY_REASON.get(reason, _LATER)
    return text.format(url="--iam-url" if is_of_iam else "--upstream-url")
