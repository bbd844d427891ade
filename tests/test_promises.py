"""What the README and its pages promise, by their own words, held to the real thing from end to end.

A promise is made there, and kept by a test here or by one that is named here.
"""

from __future__ import annotations

import gzip
import re
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest
from google.rpc import error_details_pb2

from commands import Run, Start
from conftest import Serve
from failures import failure_of, read_failure
from gateway.simulator.app import Faults, make_app, running
from gateway.simulator.data import default_repositories
from scripted_gateway import AT_ONCE, STALL, Break, ScriptedGateway, message, scripted_gateway
from scripted_upstream import Act, ScriptedUpstream, answer, page
from swr_gateway_client import CallError, Client, Violation
from swr_gateway_client.v1 import repos_pb2

TESTS = Path(__file__).parent
PAGES = ("README.md", "docs/calling.md", "docs/command-line.md", "docs/errors.md", "docs/settings.md")
PROMISED = " ".join(word for page in PAGES for word in (TESTS.parent / page).read_text("utf-8").split())

Test = TypeVar("Test", bound=Callable[..., Any])
PROMISES: list[str] = []


def keeps(promise: str) -> Callable[[Test], Test]:
    """Name the promise that a test is about."""
    PROMISES.append(promise)
    return lambda test: test


# What is promised, and kept by a test elsewhere.
KEPT_ELSEWHERE = """
test_cli.py::test_demo_prints_a_table_that_came_through_grpc
    no account needed
test_iam.py::test_calls_see_nothing_of_a_renewal_ahead_of_the_end
    with tokens from IAM that it renews ahead of their end
test_connection_faults.py::test_a_connection_that_fails_says_why_and_what_to_mend
    says why, what to mend
test_list.py::test_numbers_are_exact_and_compare_as_numbers
    exact in jq 1.7 and newer
test_stream_repos.py::test_a_caller_who_stops_reading_stops_the_upstream_requests
    fetched ahead but no further than the caller and gRPC's flow control have room
test_stream_repos.py::test_messages_are_split_on_rows_at_one_mebibyte
    messages of at most 1 MiB
test_stream_repos.py::test_a_row_that_is_larger_than_a_message_should_be_has_one_of_its_own
    (a larger repository has one of its own)
test_stream_repos.py::test_a_repository_on_two_pages_is_sent_once
    A repository that shows up twice because the list moved is sent once
test_stream_repos.py::test_every_message_can_be_resumed_behind
    Every message has the `next_offset` that resumes after it
test_check_call.py::test_a_failure_is_told_with_what_to_mend_after_one_request
    signed in as the gateway would and never sent again
test_credentials.py::test_a_file_that_was_replaced_is_read_again
    read again when it changes
test_upstream.py::test_redirects_are_not_followed
    redirects are not followed
test_rpc_status.py::test_any_failure_fits_and_says_what_it_can
    at most 4 KiB
test_interceptor.py::test_an_exception_is_logged_and_nothing_of_it_reaches_the_caller
    nothing of an exception's text
test_list_repos.py::test_every_violation_is_named_and_nothing_goes_upstream
    all violations are named, nothing was sent upstream
test_interceptor.py::test_an_exception_is_logged_and_nothing_of_it_reaches_the_caller
    its log has the traceback under the request id
test_sharing.py::test_two_hundred_identical_calls_are_one_request
    1000 identical calls at the same time are one upstream request
"""


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedGateway]:
    async with scripted_gateway() as gateway:
        yield gateway


NOT_TAKEN = grpc.StatusCode.INVALID_ARGUMENT
NO_FAILURES = (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED)
LIST = b"HTTP/1.1 200 OK\r\n"
PACKED = gzip.compress(b"[]")
BROKEN_ANSWERS: dict[str, tuple[bytes | Act, ...]] = {
    "nothing": (page(""),),
    "blanks": (page(" \r\n"),),
    "HTML": (answer(200, "<html>Sign in</html>", {"Content-Type": "text/html"}),),
    "an object": (page("{}"),),
    "a page in an object": (page('{"repos":[],"total":0}'),),
    "a text": (page('"[]"'),),
    "a number": (page("0"),),
    "false": (page("false"),),
    "null and more": (page("null,"),),
    "rows of null": (page("[null]"),),
    "rows of lists": (page("[[]]"),),
    "a row of a wrong type": (page('[{"name":7}]'),),
    "an error": (page('{"errorCode":"SVCSTG.SWR.4001035","errorMessage":"Invalid filter"}'),),
    "an error in a list": (page('[{"errorCode":"SVCSTG.SWR.4001035","errorMessage":"Invalid filter"}]'),),
    "errors in an object": (page('{"errors":[]}'),),
    "cut off": (page("["),),
    "cut off in a row": (page('[{"name":"a"},{"na'),),
    "another list behind it": (page("[][]"),),
    "a nest without an end": (page("[" * 100_000),),
    "UTF-16": (page("[]".encode("utf-16")),),
    "a byte order mark": (page(b"\xef\xbb\xbf[]"),),
    "shorter than its length": (LIST + b"Content-Length: 100\r\n\r\n[]", Act.CLOSE),
    "longer than its length": (LIST + b"Content-Length: 2\r\n\r\n[]]",),
    "chunks without an end": (LIST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n", Act.CLOSE),
    "chunks that are none": (LIST + b"Transfer-Encoding: chunked\r\n\r\n[]\r\n", Act.CLOSE),
    "two lengths": (LIST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]", Act.CLOSE),
    "a reset": (LIST + b"Content-Length: 100\r\n\r\n[]", Act.RESET),
    "hung up on": (Act.CLOSE,),
    "no HTTP": (b"[]", Act.CLOSE),
    "gzip that is none": (page("[]", {"Content-Encoding": "gzip"}),),
    "gzip of nothing": (page(gzip.compress(b""), {"Content-Encoding": "gzip"}),),
    "gzip without its end": (page(PACKED[:-1], {"Content-Encoding": "gzip"}),),
    "gzip of another checksum": (page(PACKED[:-8] + bytes(8), {"Content-Encoding": "gzip"}),),
    "gzip that is not said to be": (page(PACKED),),
    "gzip twice": (page(gzip.compress(PACKED), {"Content-Encoding": "gzip, gzip"}),),
    "an encoding that nobody asked for": (page("[]", {"Content-Encoding": "br"}),),
    **{
        f"a list with status {number}": (answer(number, "" if number in (204, 304) else "[]", {"Location": "/"}),)
        for number in (201, 202, 203, 204, 207, 226, 300, 301, 302, 304, 307, 400, 401, 403, 404, 416, 429, 500, 503)
    },
}


@keeps("never turns a broken answer into an empty list")
@pytest.mark.parametrize("script", BROKEN_ANSWERS.values(), ids=BROKEN_ANSWERS)
async def test_a_broken_answer_is_never_an_empty_list(
    script: tuple[bytes | Act, ...], serve: Serve, upstream: ScriptedUpstream
) -> None:
    upstream.play(script)
    stub = (await serve()).stub
    for request in (repos_pb2.ListReposRequest(), repos_pb2.ListReposRequest(offset=0, limit=10)):
        failure = await failure_of(stub.ListRepos(request))
        assert failure.reason.startswith("UPSTREAM_")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        [_ async for _ in stub.StreamRepos(repos_pb2.StreamReposRequest())]
    assert read_failure(raised.value).reason == failure.reason


@keeps("keeps the upstream's own error codes")
@pytest.mark.parametrize(
    ("number", "body", "code"),
    [
        (400, '[{"errorCode":"SVCSTG.SWR.4001035","errorMessage":"told"}]', "SVCSTG.SWR.4001035"),
        (403, '{"errors":[{"errorCode":"SVCSTG.SWR.4039002","errorMessage":"told"}]}', "SVCSTG.SWR.4039002"),
        (401, '{"error_code":"APIGW.0301","error_msg":"told"}', "APIGW.0301"),
        (500, '{"errors":[{"code":"UNKNOWN","message":"told"}]}', "UNKNOWN"),
    ],
)
async def test_the_upstreams_own_codes_and_words_arrive(
    number: int, body: str, code: str, serve: Serve, upstream: ScriptedUpstream
) -> None:
    upstream.play(answer(number, body))
    failure = await failure_of((await serve()).stub.ListRepos(repos_pb2.ListReposRequest()))
    assert (failure.message, failure.info.metadata["upstreamCode"]) == ("told", code)
    assert failure.info.metadata["httpStatus"] == str(number)


@keeps("reads `Content-Range` into the reply")
async def test_the_reply_says_where_it_lies(serve: Serve, upstream: ScriptedUpstream) -> None:
    upstream.play(page('[{"name":"a"}]', {"Content-Range": "20-1/256"}))
    stub = (await serve()).stub
    reply = await stub.ListRepos(repos_pb2.ListReposRequest(offset=20, limit=1))
    assert reply.content_range == repos_pb2.ContentRange(offset=20, count=1, total=256)


@keeps("The stream ends with OK where the upstream's total is reached")
@keeps("caps pages, hides rows or wants offsets that are multiples of the limit")
@pytest.mark.parametrize(
    "faults",
    [
        Faults(page_cap=30),
        Faults(page_cap=100, multiples_only=True),
        Faults(hide_every=3),
        Faults(hide_every=2, multiples_only=True),
    ],
    ids=str,
)
async def test_a_stream_that_is_ok_is_whole(faults: Faults, serve: Serve) -> None:
    everything = default_repositories(250)
    shown = [
        row for number, row in enumerate(everything[:250], 1) if not faults.hide_every or number % faults.hide_every
    ]
    async with running(make_app(everything, faults)) as url:
        stub = (await serve(upstream_url=url)).stub
        request = repos_pb2.StreamReposRequest(page_size=100)
        names = [repo.name async for message in stub.StreamRepos(request) for repo in message.repos]
    assert names == [row.record["name"] for row in shown]


@keeps("continues after the last message where a stream breaks, and raises one `CallError` with all details")
async def test_the_client_goes_on_where_a_stream_breaks_and_tells_what_ends_it(scripted: ScriptedGateway) -> None:
    rule = error_details_pb2.BadRequest(field_violations=[{"field": "page_size", "description": "told"}])
    scripted.play((message(0), AT_ONCE), (message(2), AT_ONCE), (message(4), Break(NOT_TAKEN, details=(rule,))))
    came = []
    async with Client(scripted.target) as client:
        with pytest.raises(CallError) as raised:  # noqa: PT012 - what came before counts
            async for repo in client.iter_repos():
                came.append(repo.name)  # noqa: PERF401 - see above
    assert (came, scripted.offsets) == (list("012345"), [0, 2, 4])
    assert (raised.value.code, raised.value.violations) == (NOT_TAKEN, (Violation("page_size", "told"),))


@keeps("has a deadline, retries what may be retried")
async def test_the_client_has_a_deadline_and_tries_again(scripted: ScriptedGateway) -> None:
    scripted.play((Break(),), (repos_pb2.ListReposResponse(),))
    async with Client(scripted.target) as client:
        await client.list_repos()
    first, second = scripted.asked
    assert first.seconds is not None
    assert second.seconds is not None


FAILURES = {
    "a rule that is broken": (repos_pb2.ListReposRequest(limit=0), page("[]")),
    "a refusal": (repos_pb2.ListReposRequest(), answer(403, "")),
    "no list": (repos_pb2.ListReposRequest(), page("{}")),
    "a connection that breaks": (repos_pb2.ListReposRequest(), Act.CLOSE),
}


@keeps("Every failed call carries a `google.rpc.Status`")
@keeps("always an `ErrorInfo`")
@keeps("and a `RequestInfo`")
@pytest.mark.parametrize(("asked", "step"), FAILURES.values(), ids=FAILURES)
async def test_every_failure_says_why_and_which_call_it_was(
    asked: repos_pb2.ListReposRequest, step: bytes | Act, serve: Serve, upstream: ScriptedUpstream
) -> None:
    upstream.play((step,))
    stub = (await serve()).stub
    failure = await failure_of(stub.ListRepos(asked, metadata=(("x-request-id", "mine"),)))
    assert (failure.info.domain, failure.details["RequestInfo"].request_id) == ("gateway.swr.v1", "mine")  # type: ignore[attr-defined]


@keeps("says why, what to mend and where to go on (`--resume`)")
@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code not in NO_FAILURES])
async def test_list_says_what_to_mend_whatever_fails(
    code: grpc.StatusCode, scripted: ScriptedGateway, run: Run
) -> None:
    scripted.play((message(0), Break(code, pushback="-1", details=(error_details_pb2.ErrorInfo(reason="ANY"),))))
    ended = await run("list", "--target", scripted.target, "--all")
    assert ended.code == 1
    why, mend, *_, resume = ended.err.splitlines()
    assert why == f"{code.name}: on purpose"
    assert mend.startswith("  hint: ")
    assert resume == "To go on behind what was listed: --resume 2"


@keeps("It exits with 0; with 1 where the call failed")
@keeps("with 2 where the command line is wrong; with 130 on Ctrl-C")
async def test_list_tells_by_its_exit_code(scripted: ScriptedGateway, run: Run, start: Start) -> None:
    scripted.play((repos_pb2.ListReposResponse(),), (Break(NOT_TAKEN),), (STALL,))
    called = ("list", "--target", scripted.target)
    assert (await run(*called)).code == 0
    assert (await run(*called)).code == 1
    assert (await run(*called, "--limit", "0")).code == 2
    interrupted = await start(*called)
    await scripted.stalled.wait()
    interrupted.signal(signal.SIGINT)
    assert (await interrupted.ends()).code == 130


@keeps("`SWR_GATEWAY_TOKEN` is the gateway's own secret, and is never sent by `list`")
async def test_list_never_sends_the_gateways_own_secret(scripted: ScriptedGateway, run: Run) -> None:
    scripted.play((repos_pb2.ListReposResponse(),))
    secret = "canary-4711"
    assert (await run("list", "--target", scripted.target, SWR_GATEWAY_TOKEN=secret)).code == 0
    (asked,) = scripted.asked
    assert secret not in str(asked.metadata)


@keeps("Flags win over the environment, the environment over the file")
@keeps("prints what they come to, or everything that is wrong with them")
async def test_check_config_tells_what_settings_come_to(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('region = "cn-north-4"\nretries = 1\nprefetch = 1\nmax_queue = 1\n')
    given = ("check-config", "--config", str(file))
    told = await run(*given, "--retries", "3", SWR_GATEWAY_RETRIES="2", SWR_GATEWAY_PREFETCH="2")
    assert {"retries = 3", "prefetch = 2", "max_queue = 1"} <= {*told.out.splitlines()}
    wrong = await run(*given, "--retries", "x", SWR_GATEWAY_PREFETCH="x", SWR_GATEWAY_TIMEOT="1s")
    assert wrong.code == 2
    assert {line.removeprefix("error: ").partition(":")[0] for line in wrong.err.splitlines()} == {
        "--retries",
        "SWR_GATEWAY_PREFETCH",
        "SWR_GATEWAY_TIMEOT",
    }


@pytest.mark.parametrize("promise", [*PROMISES, *re.findall(r"^    (.*)$", KEPT_ELSEWHERE, re.MULTILINE)])
def test_it_is_still_promised(promise: str) -> None:
    assert promise in PROMISED


@pytest.mark.parametrize("name", re.findall(r"^(\w.*)$", KEPT_ELSEWHERE, re.MULTILINE))
def test_a_promise_is_kept_elsewhere_by_a_test_that_is_there(name: str) -> None:
    file, _, test = name.partition("::")
    assert f"def {test}(" in (TESTS / file).read_text("utf-8")
