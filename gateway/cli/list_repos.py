"""`swr-gateway list`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, TypeAlias

import click
import grpc

from gateway.cli.callee import Callee, with_callee
from gateway.cli.cells import FIELDS
from gateway.cli.durations import DURATION
from gateway.cli.failure import failure_as_json, failure_as_text
from gateway.cli.help import GroupedCommand, option_of
from gateway.cli.hints import hint_at
from gateway.cli.interruption import cancelled_by_signals
from gateway.cli.render import OUTPUTS, Writer, make_writer
from gateway.cli.screen import Screen
from gateway.cli.terminal import find_terminal
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


_of_the_list, _of_the_output = option_of("What to list"), option_of("How to print it")


@click.command(
    "list",
    cls=GroupedCommand,
    examples=(
        "swr-gateway list --namespace team-a --limit 10",
        "swr-gateway list --all --output ndjson > repositories.ndjson",
        "swr-gateway list --target gateway:50051 --tls-ca ca.pem --columns name,size",
    ),
)
@_of_the_list("--center", type=click.Choice([*CENTERS]), default="self", show_default=True, help="Whose repositories.")
@_of_the_list("--namespace", metavar="NAME", default="", help="Organization, exactly.")
@_of_the_list("--name", metavar="TEXT", default="", help="Part of the name.")
@_of_the_list("--category", metavar="NAME", default="", help="Category, exactly.")
@_of_the_list("--offset", type=_Offset(), metavar="INDEX", help="The first repository, from 0.  [default: 0]")
@_of_the_list(
    "--limit",
    type=click.IntRange(1, PAGE_SIZE),
    metavar="NUMBER",
    help=f"Most repositories to list.  [default: {DEFAULT_LIMIT}]",
)
@_of_the_list("--all", "everything", is_flag=True, help="All of them, page by page, with progress on a terminal.")
@_of_the_list(
    "--resume", type=_Offset(), metavar="INDEX", help="With --all: the first repository, where a list broke off."
)
@_of_the_list(
    "--deadline", type=DURATION, metavar="DURATION", help="Time limit of the command.  [default: 30s; with --all, none]"
)
@_of_the_output("--output", type=click.Choice(OUTPUTS), default="table", show_default=True, help="The format.")
@_of_the_output("--columns", type=_Columns(), metavar="A,B,...", help="Fields to print, as the protocol names them.")
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

    On a terminal a table has one line for each repository: what is too long ends in an ellipsis, times are in UTC to
    the minute, and public repositories are coloured (not with NO_COLOR). In a pipe everything is whole, with exact
    times; json, ndjson and csv are exact everywhere. No control characters reach a terminal: they are escaped in JSON,
    and U+FFFD in a table or in CSV.

    Where a page is not the end of the list, a line on standard error says so.

    Exit codes: 0 where all went well; 1 where the call failed, with the reason on standard error, as JSON where the
    output is JSON; 2 where the command line is wrong; 130 after Ctrl-C, with where to go on.
    """
    if everything and (offset is not None or limit is not None):
        raise click.UsageError("--all lists all pages: use --resume rather than --offset and --limit")
    if resume is not None and not everything:
        raise click.UsageError("--resume goes with --all")
    wanted = {"center": center, "namespace": namespace, "name": name, "category": category}
    start = (resume if everything else offset) or 0
    if everything:
        pages, note = client_pages(callee.client, wanted, start, deadline), _no_note
    else:
        limit = limit or DEFAULT_LIMIT
        pages = client_page(callee.client, wanted, start, limit, deadline)
        note = partial(_note_of_the_rest, offset=start, limit=limit)
    terminal = find_terminal(sys.stdout)
    writer = make_writer(output, columns, terminal)
    bar = everything and terminal is not None
    sys.exit(asyncio.run(_list(callee, pages, writer, note, start=start, bar=bar, as_json="json" in output)))


async def client_page(
    client: Client, wanted: dict[str, Any], offset: int, limit: int, deadline: float | None
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


async def _list(
    callee: Callee,
    pages: AsyncGenerator[Page, None],
    writer: Writer,
    note: Callable[[Page], str],
    *,
    start: int,
    bar: bool,
    as_json: bool,
) -> int:
    """Write pages as they come; a failure behind some of them closes what was written, and says how to go on.

    Args:
        callee: The gateway.
        pages: What it lists.
        writer: Turns them into text.
        note: Returns what is told of the last page, if anything is.
        start: The index of the first repository.
        bar: Show progress.
        as_json: Tell of a failure as JSON.

    Returns:
        The exit code.
    """
    position: repos_pb2.ContentRange | None = None
    failure: CallError | None = None
    resume, shown, told = 0, 0, ""
    with Screen(bar=bar) as screen:
        with cancelled_by_signals() as received:
            try:
                async with callee.client, aclosing(pages):
                    async for page in pages:
                        screen.show(writer.page(page.repos))
                        shown += len(page.repos)
                        position = _position(page, start, shown)
                        resume = getattr(page, "next_offset", 0)
                        screen.advance(len(page.repos), position.total if position else None)
                        told = note(page)
            except CallError as error:
                failure = error
            except asyncio.CancelledError:
                failure = CallError(grpc.StatusCode.CANCELLED, "interrupted")
        if failure is None or resume:
            screen.show(writer.end(position))
    if failure is None:
        if told:
            click.echo(told, err=True)
        return 0
    hint = hint_at(failure, callee)
    if as_json:
        click.echo(failure_as_json(failure, hint, resume), err=True)
    else:
        click.echo(failure_as_text(failure, hint, resume, find_terminal(sys.stderr)), err=True)
    return 128 + received[0] if received else 1


def _position(page: Page, start: int, shown: int) -> repos_pb2.ContentRange | None:
    """Return where all that was listed lies, if that is known: a stream tells it of the page of each message."""
    if not page.HasField("content_range"):
        return None
    if isinstance(page, repos_pb2.ListReposResponse):
        return page.content_range
    return repos_pb2.ContentRange(offset=start, count=shown, total=page.content_range.total)


def _no_note(_page: Page) -> str:
    return ""


def _note_of_the_rest(page: Page, offset: int, limit: int) -> str:
    count, total = len(page.repos), page.content_range.total
    if not page.HasField("content_range") or total < offset + count:  # a total that the page disproves says nothing
        unknown = "the upstream does not say of how many, and there may be more; --all lists them"
        return f"{count}: {unknown}" if count >= limit else ""
    if offset + count == total:
        return ""
    if not offset:
        return f"{count} of {total}; --all lists them all"
    return f"{count} of {total}, from offset {offset}; --all --resume {offset + count} lists the rest"
