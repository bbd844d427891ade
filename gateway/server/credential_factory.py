"""The credential that settings choose, and the IAM client behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gateway.core.iam_messages import IamUser
from gateway.credentials.access_key import AccessKey, AccessKeySigner
from gateway.credentials.base import Credential
from gateway.credentials.iam_token import IamToken
from gateway.credentials.tokens import CallerToken, NoCredential, StaticToken, TokenFile
from gateway.metrics import Metrics
from gateway.settings.model import Auth, Settings
from gateway.upstream.iam_client import IamClient
from gateway.upstream.tls import UpstreamTls


def make_credential(
    settings: Settings, tls: UpstreamTls, announce: Callable[[bool], Awaitable[None]], metrics: Metrics
) -> Credential:
    """Return the credential for the upstream; that it can be made is what gateway.settings.rules sees to.

    Args:
        settings: Those of the gateway.
        tls: How IAM is reached.
        announce: Told whether there is a token, where it comes from IAM.
        metrics: Where renewals and reloads are counted.
    """
    match settings.auth:
        case Auth.NONE:
            return NoCredential()
        case Auth.PASSTHROUGH:
            return CallerToken()
        case Auth.TOKEN if settings.token:
            return StaticToken(settings.token.get_secret_value())
        case Auth.TOKEN:
            assert settings.token_file is not None
            return TokenFile(settings.token_file, metrics)
        case Auth.AKSK:
            return AccessKeySigner(_access_key(settings), settings.origin)
        case Auth.IAM:
            return IamToken(make_iam_client(settings, tls).fetch_token, announce, metrics)


def replace_secrets(credential: Credential, settings: Settings, tls: UpstreamTls) -> None:
    """Have a credential that was made of settings use their secrets from now on.

    Args:
        credential: The credential.
        settings: The same settings, with other secrets.
        tls: How IAM is reached.
    """
    match credential:
        case StaticToken():
            assert settings.token is not None
            credential.replace(settings.token.get_secret_value())
        case AccessKeySigner():
            credential.replace(_access_key(settings))
        case IamToken():
            credential.replace(make_iam_client(settings, tls).fetch_token)


def make_iam_client(settings: Settings, tls: UpstreamTls) -> IamClient:
    """Return what asks IAM for tokens."""
    return IamClient(settings.iam_origin, _iam_user(settings), tls)


def _access_key(settings: Settings) -> AccessKey:
    assert settings.access_key is not None
    assert settings.secret_key is not None
    return AccessKey(
        settings.access_key.get_secret_value(),
        settings.secret_key.get_secret_value(),
        settings.security_token.get_secret_value() if settings.security_token else "",
        settings.project_id or "",
    )


def _iam_user(settings: Settings) -> IamUser:
    project = settings.iam_project or settings.region
    assert settings.iam_username is not None
    assert settings.iam_password is not None
    assert settings.iam_domain is not None
    assert project is not None
    return IamUser(settings.iam_username, settings.iam_password.get_secret_value(), settings.iam_domain, project)
