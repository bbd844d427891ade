"""Options that say which gateway to call, and as whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click
import grpc

from gateway.cli.help import option_of
from gateway.core.tokens import is_token
from gateway.start_errors import BadFileError
from swr_gateway_client import Client
from swr_gateway_client.target import check_authority, check_target

# Who waits at a terminal wants to read at once what is wrong. The channel would wait for a gateway, and as long as the
# server asks it to, past the call's deadline if need be, and the reason would be lost.
_NO_RETRIES = (("grpc.enable_retries", 0),)


@dataclass(frozen=True)
class Callee:
    """A gateway to call.

    Attributes:
        client: Calls it.
        target: Its address.
        tls: Whether the connection is encrypted.
        certificate: Whether the caller shows a certificate.
    """

    client: Client
    target: str
    tls: bool
    certificate: bool


class _Target(click.ParamType[str]):
    name = "target"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            check_target(value)
        except ValueError as error:
            encrypted = value.lower().startswith(("https:", "grpcs:"))
            self.fail(f"{error}{'; --tls encrypts' if encrypted else ''}", param, ctx)
        return value


class _Authority(click.ParamType[str]):
    name = "authority"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            check_authority(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return value


class _Token(click.ParamType[str]):
    name = "token"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value and not is_token(value):
            self.fail("the token must be visible ASCII without blanks", param, ctx)
        return value


_FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
_of_the_gateway = option_of("The gateway to call")


def _option(*names: str, **more: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option that the environment can give too."""
    variable = names[0].partition("/")[0].removeprefix("--").replace("-", "_").upper()
    prefix = "SWR_GATEWAY_" if variable.startswith("TARGET") else "SWR_GATEWAY_TARGET_"
    return _of_the_gateway(*names, envvar=prefix + variable, show_envvar=True, **more)


_OPTIONS = (
    _option(
        "--target",
        type=_Target(),
        metavar="HOST:PORT",
        default="127.0.0.1:50051",
        show_default=True,
        help="The gateway: host:port or unix:/path.",
    ),
    _option(
        "--authority",
        type=_Authority(),
        metavar="NAME",
        help="The name in its certificate, where that is not --target: behind a forwarded port.",
    ),
    _option(
        "--token",
        type=_Token(),
        metavar="TOKEN",
        help="Sent as x-auth-token. Other users see flags: better the variable.",
    ),
    _option(
        "--tls/--no-tls",
        default=None,
        help="Whether to encrypt. By default, only where one of the files below is given. Without --tls-ca, the CA "
        "certificates are those that come with gRPC, or of the file that GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names.",
    ),
    _option("--tls-ca", type=_FILE, help="CA certificates in PEM that the gateway is verified against."),
    _option("--tls-cert", type=_FILE, help="Certificate in PEM to show, for mutual TLS. Goes with --tls-key."),
    _option("--tls-key", type=_FILE, help="Its key in PEM."),
)


def with_callee(run: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options, and the gateway as its first argument."""

    @wraps(run)
    def command(
        target: str,
        authority: str | None,
        token: str | None,
        tls: bool | None,
        tls_ca: Path | None,
        tls_cert: Path | None,
        tls_key: Path | None,
        **others: Any,
    ) -> None:
        credentials = None
        if tls or (tls is None and (tls_ca or tls_cert or tls_key)):
            credentials = _credentials(tls_ca, tls_cert, tls_key)
        client = Client(
            target,
            token=token or None,
            wait_for_ready=False,
            tls=credentials,
            authority=authority,
            options=_NO_RETRIES,
        )
        run(Callee(client, target, credentials is not None, tls_cert is not None), **others)

    decorated: Callable[..., None] = command
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def _credentials(ca: Path | None, cert: Path | None, key: Path | None) -> grpc.ChannelCredentials:
    # To look at certificates takes libraries that a connection without them does not wait for.
    from gateway.files.certificates import KeyUse, read_authorities, read_key_pair  # noqa: PLC0415 - see above

    def read(path: Path) -> bytes:
        """Read a file or a pipe, such as a shell's `<(...)`."""
        try:
            return path.read_bytes()
        except OSError as error:
            raise BadFileError(path, error.strerror or "cannot be read") from error

    if (cert is None) != (key is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    try:
        authorities = read_authorities(ca, read) if ca else None
        pair = read_key_pair(cert, key, KeyUse.GRPC, read) if cert and key else None
    except BadFileError as error:
        context = click.get_current_context()
        blamed = [option for option in context.command.params if context.params[option.name or ""] == error.path]
        raise click.BadParameter(str(error), context, blamed[0]) from error
    return grpc.ssl_channel_credentials(authorities, *((pair.key, pair.chain) if pair else ()))
