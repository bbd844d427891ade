"""`swr-gateway list`."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import IO, Any, TypeAlias

import click
import grpc

from gateway.cli.durations import DURATION
from gateway.cli.failure import failure_as_json, failure_as_text
from gateway.cli.render import FIELDS, OUTPUTS, Writer, make_writer
from gateway.cli.screen import Screen
from gateway.client import CallError, Client
from gateway.swr.v1 import repos_pb2

Page: TypeAlias = repos_pb2.ListReposResponse | repos_pb2.StreamReposResponse

# Of a stream: fewer requests for the whole list, and still a first page soon.
PAGE_SIZE = 1000

# Numbers that the protocol can carry; which of them make sense is the gateway's to say.
_INT32 = click.IntRange(-(2**31), 2**31 - 1)
# Who waits at a terminal wants to read at once what is wrong. The channel would wait as long as the server asks it to,
# past the call's deadline if need be, and the reason would be lost.
_NO_RETRIES = (("grpc.enable_retries", 0),)
_CENTERS = {"self": repos_pb2.CENTER_SELF, "thirdparty": repos_pb2.CENTER_THIRD_PARTY}


class _Columns(click.ParamType[tuple[str, ...]]):
    name = "columns"

    def convert(
        self, value: str | tuple[str, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        columns = tuple(value.split(",")) if isinstance(value, str) else value
        if unknown := [column for column in columns if column not in FIELDS]:
            self.fail(f"there is no {', '.join(map(repr, unknown))}; there are {', '.join(FIELDS)}", param, ctx)
        return columns


@click.command("list")
@click.option("--target", default="127.0.0.1:50051", show_default=True, help="The gateway: host:port or unix:/path.")
@click.option("--center", type=click.Choice([*_CENTERS]), default="self", show_default=True, help="Whose repositories.")
@click.option("--namespace", default="", help="Organization, exactly.")
@click.option("--name", default="", help="Part of the name.")
@click.option("--category", default="", help="Category, exactly.")
@click.option("--offset", type=_INT32, help="Index of the first repository, from 0. Goes with --limit.")
@click.option("--limit", type=_INT32, help="Most repositories to list, up to 1000. Goes with --offset.")
@click.option("--all", "everything", is_flag=True, help="List all of them, page by page, with progress on a terminal.")
@click.option("--resume", type=_INT32, help="With --all: index of the first repository, where a list broke off.")
@click.option("--output", type=click.Choice(OUTPUTS), default="table", show_default=True, help="How to print them.")
@click.option("--columns", type=_Columns(), metavar="A,B,...", help="Fields to print, as the protocol names them.")
@click.option("--deadline", type=DURATION, metavar="DURATION", help="Time for it: 30s by default, with --all no limit.")
@click.option("--token", envvar="SWR_GATEWAY_TOKEN", help="Sent as x-auth-token.  [SWR_GATEWAY_TOKEN]")
@click.option("--tls", is_flag=True, help="Encrypt, and trust what the system trusts.")
@click.option("--tls-ca", type=click.File("rb"), help="Encrypt, and trust the certificates of this file instead.")
@click.option("--tls-cert", type=click.File("rb"), help="Certificate to show. Goes with --tls-key.")
@click.option("--tls-key", type=click.File("rb"), help="Its key.")
def command(
    target: str,
    center: str,
    namespace: str,
    name: str,
    category: str,
    offset: int | None,
    limit: int | None,
    everything: bool,
    resume: int | None,
    output: str,
    columns: tuple[str, ...] | None,
    deadline: float | None,
    token: str | None,
    tls: bool,
    tls_ca: IO[bytes] | None,
    tls_cert: IO[bytes] | None,
    tls_key: IO[bytes] | None,
) -> None:
    """List repositories through a running gateway: one page, or all of them.

    A table is written for people on a terminal, and with exact times elsewhere; the other outputs are always exact.

    Exit codes: 0 where all went well; 1 where the call failed, with the reason on standard error, as JSON where the
    output is JSON; 2 where the command line is wrong.
    """
    # Who reads only the first lines, as `head` does, ends the command as any other.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if everything and (offset is not None or limit is not None):
        raise click.UsageError("--all lists all pages: use --resume rather than --offset and --limit")
    if resume is not None and not everything:
        raise click.UsageError("--resume goes with --all")
    credentials = _tls_credentials(tls, tls_ca, tls_cert, tls_key)
    try:
        client = Client(target, token=token or None, tls=credentials, options=_NO_RETRIES)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--token") from error
    wanted = {"center": _CENTERS[center], "namespace": namespace, "name": name, "category": category}
    if everything:
        pages = client_pages(client, wanted, resume or 0, deadline)
    else:
        pages = client_page(client, wanted, offset, limit, deadline)
    on_terminal = sys.stdout.isatty()
    writer = make_writer(output, columns, exact=not on_terminal)
    asyncio.run(_list(client, pages, writer, bar=everything and on_terminal, as_json="json" in output))


async def client_page(
    client: Client, wanted: dict[str, Any], offset: int | None, limit: int | None, deadline: float | None
) -> AsyncGenerator[Page, None]:
    """Yield one page."""
    yield await client.list_repos(**wanted, offset=offset, limit=limit, timeout=deadline)


async def client_pages(
    client: Client, wanted: dict[str, Any], start: int, deadline: float | None
) -> AsyncGenerator[Page, None]:
    """Yield all pages."""
    pages = client.iter_pages(**wanted, page_size=PAGE_SIZE, start_offset=start, timeout=deadline)
    async with aclosing(pages):
        async for page in pages:
            yield page


async def _list(client: Client, pages: AsyncGenerator[Page, None], writer: Writer, *, bar: bool, as_json: bool) -> None:
    """Write pages as they come; a failure behind some of them closes what was written, and says how to go on."""
    position: repos_pb2.ContentRange | None = None
    failure: CallError | None = None
    resume = 0
    with Screen(bar=bar) as screen:
        try:
            async with client, aclosing(pages):
                async for page in pages:
                    position = page.content_range if page.HasField("content_range") else None
                    resume = getattr(page, "next_offset", 0)
                    screen.show(writer.page(page.repos))
                    screen.advance(len(page.repos), position.total if position else None)
        except CallError as error:
            failure = error
        if failure is None or resume:
            screen.show(writer.end(position))
    if failure is not None:
        click.echo((failure_as_json if as_json else failure_as_text)(failure, resume), err=True)
        sys.exit(1)


def _tls_credentials(
    tls: bool, ca: IO[bytes] | None, cert: IO[bytes] | None, key: IO[bytes] | None
) -> grpc.ChannelCredentials | None:
    if (cert is None) != (key is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    if not (tls or ca or cert):
        return None
    trusted, key_text, cert_text = (file.read() if file else None for file in (ca, key, cert))
    return grpc.ssl_channel_credentials(trusted, key_text, cert_text)
