"""`swr-gateway demo`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import click

from gateway.cli.render import make_writer
from gateway.cli.terminal import find_terminal
from gateway.logs import configure_logging
from gateway.settings.environment import METRICS_FOLDERS, TRACES_EXPORTER
from gateway.settings.model import Auth, Settings
from gateway.simulator.app import make_app, running
from gateway.simulator.data import default_repositories
from swr_gateway_client import Client

_GRPCURL = (
    'grpcurl -plaintext -d \'{{"filter":{{"namespace":"root"}},"offset":0,"limit":10}}\' \\\n'
    "    {target} gateway.swr.v1.RepoService/ListRepos"
)


@click.command("demo")
@click.option("--keep", is_flag=True, help="Stay up until SIGTERM or SIGINT, to try calls on.")
def command(keep: bool) -> None:
    """List repositories through gRPC: from the embedded upstream, through a gateway, on free ports of this machine."""
    configure_logging("warning", "console")
    # Nothing is left of it anywhere, whatever is set here for those that serve.
    for name in (TRACES_EXPORTER, *METRICS_FOLDERS):
        os.environ.pop(name, None)
    asyncio.run(_demo(keep))


async def _demo(keep: bool) -> None:
    # Not before: what keeps the metrics looks at the environment when it is imported.
    from gateway.server.gateway import Gateway  # noqa: PLC0415 - see above

    async with running(make_app(default_repositories())) as upstream_url:
        settings = Settings(
            upstream_url=upstream_url, auth=Auth.NONE, listen=("127.0.0.1:0",), admin_listen=None, drain_grace=1.0
        )
        async with Gateway(settings) as gateway:
            target = gateway.addresses[0]
            click.echo(f"gRPC client -> gateway {target} -> SWR (embedded) {upstream_url}\n")
            async with Client(target) as client:
                page = await client.list_repos(offset=0, limit=12)
            table = make_writer("table", None, find_terminal(sys.stdout))
            click.echo(table.page(page.repos) + table.end(page.content_range), nl=False)
            if keep:
                await _stay(target)
            else:
                click.echo(
                    "\nThat came through gRPC. To try calls of your own:\n"
                    "  make run, or swr-gateway demo --keep\n"
                    "Against the real service:\n"
                    "  swr-gateway serve --region cn-north-4"
                )


async def _stay(target: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    click.echo("\nUp until you press Ctrl-C. In another terminal:\n")
    click.echo(f"  swr-gateway list --target {target} --namespace root --offset 0 --limit 10")
    click.echo(f"  {_GRPCURL.format(target=target)}")
    await stop.wait()
