"""Rules that nothing seems to miss: each has a test that fails without it, whatever else is tested on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from itertools import accumulate

import pytest

from conftest import Serve
from failures import failure_of
from gateway.core.content_range import ContentRange
from gateway.core.convert import PageConverter
from gateway.core.errors import UPSTREAM_NO_PROGRESS, GatewayError
from gateway.core.filter import Dialect, Page, RepoQuery, request_target
from gateway.core.iam_messages import IssuedToken
from gateway.core.pager import Pager
from gateway.core.pages import RowPage
from gateway.core.status import RATE_LIMITED
from gateway.core.stream import FIRST_MESSAGE_BYTES, StreamAssembler
from gateway.credentials.iam_token import IamToken
from gateway.listing import fetching
from gateway.listing.prefetching import Fetch, PageReader
from gateway.metrics import Metrics
from gateway.reliability.byte_budget import ByteBudget, Share
from gateway.reliability.coalescing import Coalescer
from gateway.reliability.deadline import Deadline
from gateway.reliability.progress import Progress
from gateway.swr.v1 import repos_pb2
from patience import AGES, HOUR, Advance, Clock
from scripted_upstream import Act, ScriptedUpstream, page
from steps import run

Message = repos_pb2.StreamReposResponse
DAY = 24 * HOUR
# The largest offset there is: an int32.
LARGEST = 2_147_483_647


async def let_all_run() -> None:
    """Let every task run until it waits, and those that it woke."""
    for _ in range(5):
        await asyncio.sleep(0)


def numbered(wanted: Page, count: int, total: int | None = None, *, claimed: bool = False) -> RowPage:
    """Return a page of repositories that are named by their index."""
    names = [str(wanted.offset + number) for number in range(count)]
    fields = [Message(repos=[repos_pb2.Repo(name=name)]).SerializeToString() for name in names]
    position = None if total is None else ContentRange(wanted.offset, count, total)
    return RowPage(wanted, fields, [("n", name, "", "") for name in names], position, claimed)


def taken(assembler: StreamAssembler, rows: RowPage) -> list[Message]:
    return list(map(Message.FromString, assembler.take(rows)))


# Streams


@pytest.mark.parametrize("difference", ["namespace", "name", "domain_name", "path"])
def test_repositories_are_told_apart_by_each_part_of_their_identity(difference: str) -> None:
    row = {"name": "nginx", "namespace": "team", "domain_name": "tenant", "path": "team/nginx"}
    body = json.dumps([row, row | {difference: "other"}, row]).encode()
    converted, _ = run(PageConverter(0).convert_rows(body, None, Page(0, 3)))
    assembler = StreamAssembler(Page(0, 3))
    (message,) = taken(assembler, converted)
    assert len(message.repos) == assembler.sent == 2


@pytest.mark.parametrize("row", [{"name": "nginx"}, {"namespace": "team"}, {}], ids=["name", "namespace", "neither"])
def test_without_name_or_namespace_repositories_are_told_apart_by_all_that_they_say(row: dict[str, str]) -> None:
    body = json.dumps([row | {"description": text} for text in ("a", "b", "a")]).encode()
    converted, _ = run(PageConverter(0).convert_rows(body, None, Page(0, 3)))
    (message,) = taken(StreamAssembler(Page(0, 3)), converted)
    assert [repo.description for repo in message.repos] == ["a", "b"]


@pytest.mark.parametrize(("at", "claimed"), [(100, True), (0, False), (99, False), (200, False)])
def test_a_page_is_the_one_that_was_asked_for_only_where_its_header_says_so(at: int, claimed: bool) -> None:
    converter, wanted = PageConverter(0), Page(100, 1)
    assert run(converter.convert_rows(b'[{"name":"r"}]', f"{at}-1/1000", wanted))[0].claimed is claimed
    assert run(converter.convert_rows(b'[{"name":"r","total_range":1000}]', None, wanted))[0].claimed is False


@pytest.mark.parametrize("claimed", [True, False])
def test_a_page_of_repeats_is_no_progress_unless_it_is_the_one_that_was_asked_for(claimed: bool) -> None:
    assembler = StreamAssembler(Page(0, 2))
    taken(assembler, numbered(Page(0, 2), 2))
    again = numbered(Page(0, 2), 2, claimed=claimed)
    repeats = RowPage(Page(2, 2), again.fields, again.identities, None, claimed)
    if claimed:
        assert [len(message.repos) for message in taken(assembler, repeats)] == [0]
    else:
        with pytest.raises(GatewayError, match=UPSTREAM_NO_PROGRESS.reason):
            assembler.take(repeats)


def test_the_last_page_of_all_offsets_ends_the_stream_and_can_be_resumed_behind() -> None:
    assembler = StreamAssembler(Page(LARGEST - 47, 100))
    wanted = assembler.pager.upcoming
    assert wanted == Page(LARGEST - 47, 100)
    assert assembler.pager.behind(wanted) is None
    (message,) = taken(assembler, numbered(wanted, 100))
    assert message.next_offset == LARGEST
    assert assembler.pager.upcoming is None


def test_the_largest_offset_is_one() -> None:
    pager = Pager(Page(LARGEST, 1))
    assert pager.upcoming == Page(LARGEST, 1)
    assert Pager(Page(LARGEST - 1, 1)).behind(Page(LARGEST - 1, 1)) == Page(LARGEST, 1)
    assert pager.behind(Page(LARGEST, 1)) is None


@pytest.mark.parametrize(("total", "is_known"), [(LARGEST - 1, True), (LARGEST, False), (LARGEST + 1, False)])
def test_a_total_that_no_offset_reaches_is_none(total: int, is_known: bool) -> None:
    pager = Pager(Page(0, 10))
    assert not pager.steady
    rows = numbered(Page(0, 10), 10, total)
    pager.rows_in_front(rows)
    pager.advance(rows, 10)
    assert pager.steady is is_known


# Of the first message, of the second and so on.
ROOM = [limit * 2**10 - 64 for limit in (64, 128, 256, 512, 1024, 1024)]


@pytest.mark.parametrize(
    ("sizes", "split"),
    [
        ([ROOM[0]], [1]),
        ([2 * ROOM[0]], [1]),
        ([ROOM[0] - 9, 9, 1], [2, 1]),
        ([ROOM[0] - 9, 10], [1, 1]),
        ([ROOM[0], ROOM[1] - 9, 9], [1, 2]),
        ([ROOM[0], ROOM[1] - 9, 10], [1, 1, 1]),
        ([ROOM[0] // 3, ROOM[0] // 3, ROOM[0] // 3, 9], [3, 1]),
        ([*ROOM[:5], ROOM[5] - 9, 9, 1], [1, 1, 1, 1, 1, 2, 1]),
    ],
)
def test_messages_are_split_where_the_next_row_does_not_fit(sizes: list[int], split: list[int]) -> None:
    wanted = Page(100, len(sizes))
    fields = [b"%d" % number * size for number, size in enumerate(sizes)]
    rows = RowPage(wanted, fields, [("n", str(number), "", "") for number in range(len(sizes))], None)
    expected, start = [], 0
    for end in accumulate(split):
        expected.append(b"".join(fields[start:end]) + Message(next_offset=100 + end).SerializeToString())
        start = end
    assert list(StreamAssembler(wanted).take(rows)) == expected


def test_a_message_says_where_its_next_row_lies_though_others_between_were_sent_before() -> None:
    wanted = Page(100, 5)
    fields = [b"a" * ROOM[0], b"a", b"b" * ROOM[1], b"a", b"c"]
    identities = [("n", name, "", "") for name in ("a", "a", "b", "a", "c")]
    rows = RowPage(wanted, fields, identities, None)
    ends = [Message(next_offset=offset).SerializeToString() for offset in (102, 104, 105)]
    assert list(StreamAssembler(wanted).take(rows)) == [
        fields[at] + end for at, end in zip((0, 2, 4), ends, strict=True)
    ]


def follow(pager: Pager, *counts: int, total: int = 1_000_000) -> None:
    """Answer the next pages with so many rows, all of them new."""
    for count in counts:
        assert pager.upcoming
        rows = numbered(pager.upcoming, count, total)
        pager.rows_in_front(rows)
        pager.advance(rows, count)


def test_a_thousand_pages_in_a_row_may_bring_nothing_new_and_not_one_more() -> None:
    pager = Pager(Page(0, 1))
    follow(pager, *[0] * 1000, 1, *[0] * 1000)
    with pytest.raises(GatewayError, match=UPSTREAM_NO_PROGRESS.reason):
        follow(pager, 0)


def test_a_total_that_the_page_disproves_is_none() -> None:
    pager = Pager(Page(0, 10))
    follow(pager, 10, total=5)
    assert pager.upcoming == Page(10, 10)


@pytest.mark.parametrize(
    ("counts", "upcoming"),
    [
        pytest.param([4], Page(4, 4), id="a cap"),
        pytest.param([0, 4], Page(14, 2), id="nothing, then a cap"),
        pytest.param([1, 0, 1], Page(3, 3), id="a cap that proved wrong"),
        pytest.param([5, 1, 0], Page(11, 1), id="a page that found what the one before had not looked at"),
    ],
)
def test_a_cap_is_guessed_once_by_the_first_short_page_that_has_rows(counts: list[int], upcoming: Page) -> None:
    pager = Pager(Page(0, 10))
    follow(pager, *counts)
    assert pager.upcoming == upcoming


def test_a_message_has_room_for_its_position_within_its_limit() -> None:
    wanted = Page(LARGEST - 99, 100)
    position = ContentRange(2**63 - 1, 2**63 - 1, 2**63 - 1)
    for size in (ROOM[0], ROOM[0] + 1, ROOM[0] + 64):
        halves = [b"x" * (size // 2), b"x" * (size - size // 2)]
        rows = RowPage(wanted, halves, [("n", "a", "", ""), ("n", "b", "", "")], position)
        messages = list(StreamAssembler(wanted).take(rows))
        assert len(messages) == (1 if size == ROOM[0] else 2)
        assert max(map(len, messages)) <= FIRST_MESSAGE_BYTES


# Pages ahead


class Fetches:
    """Fetches of a list of sixty that are answered on order, or for ever under way.

    Attributes:
        begun: Those that were begun, in order, and whether they were not needed yet.
        tasks: What they run in.
        budget: Has one byte taken for each page ahead.
    """

    def __init__(self, *answered: int) -> None:
        self.answered = set(answered)
        self.begun: list[tuple[int, bool]] = []
        self.tasks: dict[int, asyncio.Task[RowPage]] = {}
        self.budget = ByteBudget(1000)

    def begin(self, wanted: Page, is_ahead: bool) -> Fetch[RowPage]:
        self.begun.append((wanted.offset, is_ahead))
        self.tasks[wanted.offset] = asyncio.create_task(self._fetch(wanted))
        return Fetch(wanted, self.tasks[wanted.offset], Share(self.budget, 1) if is_ahead else None)

    async def _fetch(self, wanted: Page) -> RowPage:
        if wanted.offset not in self.answered:
            await asyncio.Event().wait()
        return numbered(wanted, 10, 60)

    def read(self, ahead: int) -> AsyncGenerator[bytes, None]:
        return PageReader(self.begin, converted, StreamAssembler(Page(0, 10)), ahead).messages()


async def converted(_: Page, fetched: RowPage) -> RowPage:
    return fetched


async def test_pages_are_read_ahead_from_the_first_message_on_that_is_taken() -> None:
    fetches = Fetches(0, 10)
    async with aclosing(fetches.read(3)) as messages:
        await anext(messages)
        assert fetches.begun == [(0, False)]
        await anext(messages)
        assert fetches.begun == [(0, False), (10, True), (20, True), (30, True), (40, True)]
        assert fetches.budget.used == 3


async def test_who_stops_reading_cancels_every_page_ahead() -> None:
    fetches = Fetches(0, 10)
    messages = fetches.read(3)
    await anext(messages)
    await anext(messages)
    closing = asyncio.create_task(messages.aclose())
    await let_all_run()
    cancelled = [offset for offset, task in fetches.tasks.items() if task.cancelled()]
    for task in fetches.tasks.values():
        task.cancel()
    await closing
    assert cancelled == [20, 30, 40]


async def test_who_has_stopped_reading_leaves_nothing_under_way_and_no_memory_taken() -> None:
    fetches = Fetches(0, 10)
    messages = fetches.read(3)
    await anext(messages)
    await anext(messages)
    await messages.aclose()
    assert all(task.done() for task in fetches.tasks.values())
    assert fetches.budget.used == 0


@pytest.mark.parametrize("ahead", [1, 2, 3, 9])
async def test_each_page_is_asked_for_once_and_none_behind_the_last(ahead: int) -> None:
    fetches = Fetches(*range(0, 60, 10))
    assembler = StreamAssembler(Page(0, 10))
    reader = PageReader(fetches.begin, converted, assembler, ahead)
    async with aclosing(reader.messages()) as messages:
        assert [assembler.sent async for _ in messages] == [10, 20, 30, 40, 50, 60]
    assert fetches.begun == [(0, False), (10, True), (20, True), (30, True), (40, True), (50, True)]
    assert fetches.budget.used == 0


async def test_the_next_page_is_under_way_while_one_is_converted() -> None:
    fetches = Fetches(0, 10, 20, 30, 40)
    seen: list[tuple[int, int]] = []

    async def convert(wanted: Page, fetched: RowPage) -> RowPage:
        seen.append((wanted.offset, fetches.begun[-1][0]))
        return fetched

    reader = PageReader(fetches.begin, convert, StreamAssembler(Page(0, 10)), 1)
    async with aclosing(reader.messages()) as messages:
        for _ in range(3):
            await anext(messages)
    assert seen == [(0, 0), (10, 20), (20, 30)]


# Shared calls


async def test_a_shared_call_that_all_have_left_is_no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    coalescer: Coalescer[str] = Coalescer(Metrics())
    ended = asyncio.Event()

    async def work(_: Progress) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    deadline = Deadline(asyncio.get_running_loop().time() + AGES, by_caller=True)
    calls = [asyncio.create_task(coalescer.run("key", work, deadline)) for _ in range(2)]
    await let_all_run()
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    await ended.wait()
    await let_all_run()
    assert caplog.records == []


def test_the_memory_of_targets_is_bounded() -> None:
    for number in range(5000):
        request_target(RepoQuery("self", "", f"r-{number}", "", None), Dialect.FILTER)
    assert request_target.cache_info().currsize == 1024


# Requests


@pytest.mark.usefixtures("patient_circuit")
@pytest.mark.parametrize("by_caller", [True, False])
async def test_a_request_that_was_cut_off_speaks_against_the_upstream_unless_its_caller_did_it(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance, by_caller: bool
) -> None:
    upstream.play((Act.STALL,))
    stub = (await serve(timeout="1h")).stub
    calls = [stub.ListRepos(repos_pb2.ListReposRequest()) for _ in range(20)]
    await upstream.all_arrived(20)
    if by_caller:
        advance(0.9 * HOUR)
        for call in calls:
            call.cancel()
    else:
        advance(HOUR)
    await upstream.all_hung_up(20)
    upstream.play(page("[]"))
    if by_caller:
        await stub.ListRepos(repos_pb2.ListReposRequest())
    else:
        assert (await failure_of(stub.ListRepos(repos_pb2.ListReposRequest()))).reason == "UPSTREAM_CIRCUIT_OPEN"


async def test_without_time_for_its_answer_no_request_is_sent(
    serve: Serve, upstream: ScriptedUpstream, advance: Advance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MIN_TIME", 2 * HOUR)
    stub = (await serve(timeout="1h", max_in_flight=1, max_queue=0)).stub
    calls = {asyncio.ensure_future(failure_of(stub.ListRepos(repos_pb2.ListReposRequest()))) for _ in range(2)}
    # The one that finds no turn is refused: then the other one has it.
    (refused,), (left,) = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    advance(HOUR)
    assert [(await call).reason for call in (refused, left)] == ["GATEWAY_OVERLOADED"] * 2
    assert upstream.requests == []


# Tokens from IAM


@pytest.fixture
async def clock() -> Clock:
    """The event loop's clock, which stands still but where it is told to go on."""
    clock = Clock()
    asyncio.get_running_loop().time = clock  # type: ignore[method-assign]
    return clock


async def announce(_: bool) -> None:
    """Nobody is told."""


def issuing(*answers: GatewayError) -> Callable[[], Awaitable[IssuedToken]]:
    """Answer with errors first, and with one token after another from then on."""
    left = list(answers)
    number = 0

    async def fetch() -> IssuedToken:
        nonlocal number
        if left:
            raise left.pop(0)
        number += 1
        return IssuedToken(f"token-{number}", 30 * DAY, 0.0)

    return fetch


async def test_where_new_tokens_are_rejected_each_is_waited_for_twice_as_long_as_the_one_before(clock: Clock) -> None:
    async with IamToken(issuing(), announce, Metrics()) as credential:

        async def is_renewed() -> bool:
            return await credential.renew(await credential.auth_headers("", {})) is not None

        assert await is_renewed()
        for pace in (10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0):
            clock.now += pace - 0.5
            assert not await is_renewed(), pace
            clock.now += 0.5
            assert await is_renewed(), pace
        clock.now += 3000.0  # in peace
        assert await is_renewed()
        clock.now += 10.0
        assert await is_renewed()


async def test_iam_is_asked_again_after_five_minutes_whatever_it_says(clock: Clock) -> None:
    fetch = issuing(GatewayError(RATE_LIMITED, http_status=429, retry_delay=86_400.0))
    async with IamToken(fetch, announce, Metrics()) as credential:
        with pytest.raises(GatewayError) as refused:
            await credential.auth_headers("", {})
        assert refused.value.retry_delay == 300.0
        clock.now += 299.5
        with pytest.raises(GatewayError):
            await credential.auth_headers("", {})
        clock.now += 0.5
        assert (await credential.auth_headers("", {})).secrets == ("token-1",)
