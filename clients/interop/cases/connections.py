"""Ways to a gateway: a socket file, and a connection that is asked whether it is there."""

from __future__ import annotations

from clients.interop.case import OK, case
from clients.interop.stage import Stage, code_of, must_end
from scripted_upstream import page

# Seconds that a call is in flight while its client pings: pings once a second are cut off long before, and clients that
# ping every 10 s at the most have sent one.
IN_FLIGHT = 12.0


@case("A socket file: unix:/path")
async def unix_socket(stage: Stage) -> str:
    path = stage.world.folder / "gateway.sock"
    await stage.serve("--listen", f"127.0.0.1:0,unix:{path}")
    await stage.connect(f"unix:{path}")
    must_end(await stage.list_repos(), "OK")
    return OK


@case(
    "A call of 12 s, with keepalive pings every second or as often as the client lets them; gateways allow one in 5 s",
    "OK",
)
async def eager_keepalive(stage: Stage) -> str:
    stage.upstream.choose = lambda _: stage.world.later(IN_FLIGHT, page("[]"))
    await stage.connect(eager_keepalive=True)
    return code_of(await stage.list_repos(timeout_ms=30_000))
