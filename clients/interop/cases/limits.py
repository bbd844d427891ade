"""How much there may be of something: tokens, metadata; and requests that are compressed."""

from __future__ import annotations

from clients.interop.case import OK, case
from clients.interop.checks import same
from clients.interop.stage import Stage, code_of, must_end


@case("Tokens of 12,000 and of 20,000 characters arrive")
async def long_tokens(stage: Stage) -> str:
    for length in (12_000, 20_000):
        token = "t" * length
        await stage.connect(token=token)
        must_end(await stage.list_repos(), "OK")
        same(stage.upstream.requests[-1].headers["x-auth-token"], token, "the token upstream")
    return OK


@case("Metadata of 60,000 bytes, over the gateway's limit of 32 KiB: the client's status", "RESOURCE_EXHAUSTED")
async def too_much_metadata(stage: Stage) -> str:
    await stage.connect()
    # The first call of a connection can be made before the server has told of its limit.
    must_end(await stage.list_repos(), "OK")
    result = await stage.list_repos(metadata={"x-much": "m" * 60_000}, timeout_ms=20_000)
    same(len(stage.upstream.requests), 1, "the number of requests upstream")
    must_end(await stage.list_repos(), "OK")
    return code_of(result)


@case("A request that is compressed by gzip is understood")
async def client_compressed_unary(stage: Stage) -> str:
    await stage.connect()
    must_end(await stage.list_repos(gzip=True), "OK")
    return OK
