"""What a failed call tells: its status, its text, its details."""

from __future__ import annotations

import json

from clients.interop.case import OK, case
from clients.interop.checks import expect, same
from clients.interop.interop_pb2 import Call
from clients.interop.stage import Stage, must_end
from gateway.swr.v1.repos_pb2 import ListReposRequest, RepoFilter
from scripted_upstream import answer

REQUEST_ID = "interop-1"
# Chinese, and what a JSON or a header could trip over.
TEXT = "没有权限：命名空间 “订单” <100%> \\ é"

_WRONG = ListReposRequest(filter=RepoFilter(namespace="a|b", name="'a'"), offset=-1, limit=1001)


@case("A bad filter is INVALID_ARGUMENT, with every violation by its field, and nothing is sent upstream")
async def bad_filter(stage: Stage) -> str:
    await stage.connect()
    result = await stage.list_repos(_WRONG)
    must_end(result, "INVALID_ARGUMENT")
    same(result.reason, "INVALID_REQUEST", "the reason")
    fields = [one.field for one in result.violations]
    same(fields, ["filter.namespace", "filter.name", "offset", "limit"], "the violations")
    expect(all(one.description for one in result.violations), "a violation has no description")
    same(len(stage.upstream.requests), 0, "the number of requests upstream")
    return OK


@case("ErrorInfo, RetryInfo and RequestInfo of a failure can be read")
async def error_details(stage: Stage) -> str:
    stage.upstream.play(answer(429, _body("slow down"), {"Retry-After": "7"}))
    await stage.connect()
    result = await stage.list_repos(metadata={"x-request-id": REQUEST_ID})
    must_end(result, "RESOURCE_EXHAUSTED")
    same((result.reason, result.domain), ("UPSTREAM_RATE_LIMITED", "gateway.swr.v1"), "the reason")
    same(result.error_metadata["httpStatus"], "429", "the HTTP status in the details")
    same(result.retry_delay_ms, 7000, "the wait that is asked for")
    same(result.request_id, REQUEST_ID, "the id in the details")
    named = [f"google.rpc.{kind}" for kind in ("ErrorInfo", "RetryInfo", "QuotaFailure", "RequestInfo")]
    same(list(result.details), named, "the details")
    return OK


@case("The upstream's own text, in Chinese, is the message of the status")
async def special_status_message(stage: Stage) -> str:
    stage.upstream.play(answer(403, _body(TEXT)))
    await stage.connect()
    result = await stage.list_repos()
    must_end(result, "PERMISSION_DENIED")
    same(result.message, TEXT, "the message")
    return OK


@case("The id that a caller gives to a call is in the trailers, of a call that succeeds and of one that fails")
async def custom_metadata(stage: Stage) -> str:
    await stage.connect()
    given = {"x-request-id": REQUEST_ID}
    for request in (ListReposRequest(), _WRONG):
        result = await stage.list_repos(request, metadata=given)
        same(result.metadata["x-request-id"], REQUEST_ID, "the id in the trailers")
    same([request.headers["x-request-id"] for request in stage.upstream.requests], [REQUEST_ID], "the id upstream")
    return OK


@case("A method that there is not is UNIMPLEMENTED")
async def unimplemented_method(stage: Stage) -> str:
    await stage.connect()
    must_end(await stage.call(Call(unknown=True)), "UNIMPLEMENTED")
    return OK


def _body(text: str) -> str:
    return json.dumps({"errors": [{"errorCode": "SVCSTG.SWR.4290001", "errorMessage": text}]}, ensure_ascii=False)
