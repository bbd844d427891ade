"""`swr-gateway list`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypeAlias

import click
import grpc

from gateway.cli.callee import Callee, with_callee
from gateway.cli.durations import DURATION
from gateway.cli.failure import failure_as_json, failure_as_text
from gateway.cli.hints import hint_at
from gateway.cli.interruption import cancelled_by_signals
from gateway.cli.output import tell
from gateway.cli.render import FIELDS, OUTPUTS, Writer, make_writer
from gateway.cli.screen import Screen
from swr_gateway_client import DEFAULT_LIMIT, CallError, Client
from swr_gateway_client.requests import CENTERS
from swr_gateway_client.v1 import repos_pb2

Page: TypeAlias = repos_pb2.ListReposResponse | repos_pb2.StreamReposResponse

# Of a stream: fewer requests for the whole list, and still a first page soon.
PAGE_SIZE = 1000

# The most that the protocol can carry.
_LAST_OFFSET = 2**31 - 1


class _Offset(click.ParamType[int]):
    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        offset: int = click.INT.convert(value, param, ctx)
        if not 0 <= offset <= _LAST_OFFSET:
            self.fail(f"{offset} is not an index: the first one is 0, the last one {_LAST_OFFSET}", param, ctx)
        return offset


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
@click.option("--center", type=click.Choice([*CENTERS]), default="self", show_default=True, help="Whose repositories.")
@click.option("--namespace", default="", help="Organization, exactly.")
@click.option("--name", default="", help="Part of the name.")
@click.option("--category", default="", help="Category, exactly.")
@click.option("--offset", type=_Offset(), help="Index of the first repository, from 0.  [default: 0]")
@click.option(
    "--limit", type=click.IntRange(1, PAGE_SIZE), help=f"Most repositories to list.  [default: {DEFAULT_LIMIT}]"
)
@click.option("--all", "everything", is_flag=True, help="List all of them, page by page, with progress on a terminal.")
@click.option("--resume", type=_Offset(), help="With --all: index of the first repository, where a list broke off.")
@click.option("--output", type=click.Choice(OUTPUTS), default="table", show_default=True, help="How to print them.")
@click.option("--columns", type=_Columns(), metavar="A,B,...", help="Fields to print, as the protocol names them.")
@click.option(
    "--deadline", type=DURATION, metavar="DURATION", help="Time limit of the command: 30s by default, with --all none."
)
@with_callee
def command(
    callee: Callee,
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
) -> None:
    """List repositories through a running gateway: one page, or all of them.

    A table is written for people on a terminal, and with exact times elsewhere; the other outputs are always exact, but
    that CSV on a terminal shows control characters as U+FFFD, as tables do.
    Where a page is not the end of the list, a line on standard error says so.

    Exit codes: 0 where all went well; 1 where the call failed, with the reason on standard error, as JSON where the
    output is JSON; 2 where the command line is wrong; 130 after Ctrl-C, with where to go on.
    """
    if everything and (offset is not None or limit is not None):
        raise click.UsageError("--all lists all pages: use --resume rather than --offset and --limit")
    if resume is not None and not everything:
        raise click.UsageError("--resume goes with --all")
    wanted = {"center": center, "namespace": namespace, "name": name, "category": category}
    if everything:
        pages = client_pages(callee.client, wanted, resume or 0, deadline)
    else:
        pages = client_page(callee.client, wanted, offset or 0, limit or DEFAULT_LIMIT, deadline)
    on_terminal = sys.stdout.isatty()
    writer = make_writer(output, columns, exact=not on_terminal)
    bar = everything and on_terminal
    sys.exit(asyncio.run(_list(callee, pages, writer, bar=bar, as_json="json" in output)))


async def client_page(
    client: Client, wanted: dict[str, Any], offset: int, limit: int, deadline: float | None
) -> AsyncGenerator[Page, None]:
    """Yield one page, and say where it is not the end of the list."""
    page = await client.list_repos(**wanted, offset=offset, limit=limit, timeout=deadline)
    yield page
    if note := _note_of_the_rest(page, offset, limit):
        tell(note)


async def client_pages(
    client: Client, wanted: dict[str, Any], start: int, deadline: float | None
) -> AsyncGenerator[Page, None]:
    """Yield all pages."""
    pages = client.iter_pages(**wanted, page_size=PAGE_SIZE, start_offset=start, timeout=deadline)
    async with aclosing(pages):
        async for page in pages:
            yield page


async def _list(callee: Callee, pages: AsyncGenerator[Page, None], writer: Writer, *, bar: bool, as_json: bool) -> int:
    """Write pages as they come; a failure behind some of them closes what was written, and says how to go on.

    Returns:
        The exit code.
    """
    position: repos_pb2.ContentRange | None = None
    failure: CallError | None = None
    resume = 0
    with Screen(bar=bar) as screen:
        with cancelled_by_signals() as received:
            try:
                async with callee.client, aclosing(pages):
                    async for page in pages:
                        screen.show(writer.page(page.repos))
                        position = page.content_range if page.HasField("content_range") else None
                        resume = getattr(page, "next_offset", 0)
                        screen.advance(len(page.repos), position.total if position else None)
            except CallError as error:
                failure = error
            except asyncio.CancelledError:
                failure = CallError(grpc.StatusCode.CANCELLED, "interrupted")
        if failure is None or resume:
            screen.show(writer.end(position))
    if failure is None:
        return 0
    tell((failure_as_json if as_json else failure_as_text)(failure, hint_at(failure, callee), resume))
    return 128 + received[0] if received else 1


def _note_of_the_rest(page: Page, offset: int, limit: int) -> str:
    count = len(page.repos)
    if not page.HasField("content_range"):
        unknown = "the upstream does not say of how many, and there may be more; --all lists them"
        return f"{count}: {unknown}" if count >= limit else ""
    total = page.content_range.total
    if offset + count >= total:
        return ""
    if not offset:
        return f"{count} of {total}; --all lists the rest"
    return f"{count} of {total}, from offset {offset}; --all --resume {offset + count} lists the rest"
