"""What a request says arrives: nothing, text of any kind, numbers that are 0."""

from __future__ import annotations

from clients.interop.case import OK, case
from clients.interop.checks import same
from clients.interop.stage import Stage, must_end
from gateway.swr.v1.repos_pb2 import CENTER_THIRD_PARTY, ListReposRequest, RepoFilter

# What has to be encoded on the way, and what must not be taken for something else.
FILTERS = (
    (RepoFilter(namespace="组织-ö"), {"namespace": "组织-ö"}),
    (RepoFilter(name="订单/服务 +%2F&=ß"), {"name": "订单/服务 +%2F&=ß"}),
    (RepoFilter(category="语言 🚢"), {"category": "语言 🚢"}),
    (RepoFilter(center=CENTER_THIRD_PARTY), {"center": "thirdparty"}),
)


@case("An empty request is legal, and asks for the tenant's own repositories")
async def empty_unary(stage: Stage) -> str:
    await stage.connect()
    must_end(await stage.list_repos(), "OK")
    targets = [request.target for request in stage.upstream.requests]
    same(targets, ["/v2/manage/repos?filter=center%3A%3Aself"], "what the upstream is asked")
    return OK


@case("Each field of the filter reaches the upstream as it is, in UTF-8")
async def filter_fields(stage: Stage) -> str:
    await stage.connect()
    for wanted, clauses in FILTERS:
        must_end(await stage.list_repos(ListReposRequest(filter=wanted)), "OK")
        same(stage.upstream.requests[-1].clauses, {"center": "self", **clauses}, "the filter")
    return OK


@case("A number that is 0 is another thing than one that is not set")
async def optional_numbers(stage: Stage) -> str:
    await stage.connect()
    must_end(await stage.list_repos(ListReposRequest(offset=0, limit=1)), "OK")
    same(stage.upstream.requests[-1].clauses, {"center": "self", "offset": "0", "limit": "1"}, "the filter")
    no_limit = await stage.list_repos(ListReposRequest(offset=0))
    must_end(no_limit, "INVALID_ARGUMENT")
    same([one.field for one in no_limit.violations], ["limit"], "what is missing beside an offset")
    none_at_all = await stage.list_repos(ListReposRequest(offset=0, limit=0))
    must_end(none_at_all, "INVALID_ARGUMENT")
    same([one.field for one in none_at_all.violations], ["limit"], "what is wrong with a limit of 0")
    return OK
