"""The published service config: what is tried again, how often, and what is not."""

from __future__ import annotations

import asyncio
import json

from clients.interop.case import OK, case
from clients.interop.checks import same
from clients.interop.interop_pb2 import Call
from clients.interop.stage import Stage, must_end
from gateway.swr.v1.repos_pb2 import ListReposRequest
from ports import held_port
from scripted_upstream import answer

CONFIG_ATTEMPTS = "3 attempts"


@case("An upstream that is unavailable, by the published service config: attempts of the client", CONFIG_ATTEMPTS)
async def retry_unavailable(stage: Stage) -> str:
    stage.upstream.play(answer(503, json.dumps({"error_msg": "not now"})))
    await stage.connect()
    must_end(await stage.list_repos(timeout_ms=30_000), "UNAVAILABLE")
    return _attempts(stage)


@case("An upstream that limits the rate (429, Retry-After: 1) behind a gateway that tries again: no client does too")
async def no_retry_against_advice(stage: Stage) -> str:
    stage.upstream.play(answer(429, json.dumps({"error_msg": "too fast"}), {"Retry-After": "1"}))
    served = await stage.serve("--retries", "2")
    await stage.connect(served.address)
    must_end(await stage.list_repos(timeout_ms=30_000), "RESOURCE_EXHAUSTED")
    same(_attempts(stage), "1 attempt", "what the client did")
    return OK


def _attempts(stage: Stage) -> str:
    """Return how many calls the client made: each has an id of its own, under which the gateway asks the upstream."""
    count = len({request.headers["x-request-id"] for request in stage.upstream.requests})
    return "1 attempt" if count == 1 else f"{count} attempts"


@case("A call that waits for ready is made before the gateway is there, and succeeds when it is")
async def wait_for_ready(stage: Stage) -> str:
    with held_port() as port:
        address = f"127.0.0.1:{port}"
        await stage.connect(address)
        waiting = Call(list=ListReposRequest(), wait_for_ready=True, timeout_ms=60_000)
        listed = asyncio.create_task(stage.call(waiting))
        await stage.serve("--listen", address)
        must_end(await listed, "OK")
    return OK
