"""`swr-gateway list`."""

from __future__ import annotations

import asyncio
import sys

import click
import grpc

from gateway.cli.failure import describe_failure
from gateway.cli.render import RENDERERS
from gateway.credentials import is_token
from gateway.swr.v1 import repos_pb2, repos_pb2_grpc

# Numbers that the protocol can carry; which of them make sense is the gateway's to say.
_INT32 = click.IntRange(-(2**31), 2**31 - 1)
_CENTERS = {"self": repos_pb2.CENTER_SELF, "thirdparty": repos_pb2.CENTER_THIRD_PARTY}


@click.command("list")
@click.option("--target", default="127.0.0.1:50051", show_default=True, help="The gateway: host:port or unix:/path.")
@click.option("--center", type=click.Choice([*_CENTERS]), default="self", show_default=True, help="Whose repositories.")
@click.option("--namespace", default="", help="Organization, exactly.")
@click.option("--name", default="", help="Part of the name.")
@click.option("--category", default="", help="Category, exactly.")
@click.option("--offset", type=_INT32, help="Index of the first repository, from 0. Goes with --limit.")
@click.option("--limit", type=_INT32, help="Most repositories to list, up to 1000. Goes with --offset.")
@click.option(
    "--output", type=click.Choice([*RENDERERS]), default="table", show_default=True, help="How to print them."
)
@click.option("--token", envvar="SWR_GATEWAY_TOKEN", help="Sent as x-auth-token.  [SWR_GATEWAY_TOKEN]")
def command(
    target: str,
    center: str,
    namespace: str,
    name: str,
    category: str,
    offset: int | None,
    limit: int | None,
    output: str,
    token: str | None,
) -> None:
    """List one page of repositories through a running gateway.

    Exits with 0, or with 1 and the reason where the call fails.
    """
    if token and not is_token(token):
        raise click.BadParameter("must be visible ASCII without blanks", param_hint="--token")
    wanted = repos_pb2.RepoFilter(center=_CENTERS[center], namespace=namespace, name=name, category=category)
    request = repos_pb2.ListReposRequest(filter=wanted, offset=offset, limit=limit)
    try:
        page = asyncio.run(list_page(target, request, token))
    except grpc.aio.AioRpcError as error:
        click.echo(describe_failure(error), err=True)
        sys.exit(1)
    click.echo(RENDERERS[output](page), nl=False)


async def list_page(
    target: str, request: repos_pb2.ListReposRequest, token: str | None = None
) -> repos_pb2.ListReposResponse:
    """Make one call, over a connection of its own."""
    metadata = (("x-auth-token", token),) if token else ()
    options = (("grpc.max_receive_message_length", -1),)  # a page may pass the default of 4 MiB, and it was asked for
    async with grpc.aio.insecure_channel(target, options) as channel:
        return await repos_pb2_grpc.RepoServiceStub(channel).ListRepos(request, metadata=metadata, timeout=30)
