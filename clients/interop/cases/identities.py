"""Mutual TLS: who is let in, and who is not."""

from __future__ import annotations

from certificates import CA, OTHER_CA, Folder, issue, pem_of
from clients.interop.case import case
from clients.interop.stage import Stage, code_of

CALLER, STRANGER = "caller.example", "stranger.example"


@case(
    "Mutual TLS: the caller who may, one who may not, one of another authority, one without a certificate",
    # A call that waits for ready waits for a connection that never comes, up to its deadline.
    "OK, PERMISSION_DENIED, (UNAVAILABLE|DEADLINE_EXCEEDED), (UNAVAILABLE|DEADLINE_EXCEEDED)",
)
async def mutual_tls(stage: Stage) -> str:
    folder = Folder(stage.world.folder / "tls", ca=pem_of(CA))
    pairs = {
        "gateway": issue("127.0.0.1"),
        "caller": issue(CALLER),
        "stranger": issue(STRANGER),
        "foreigner": issue(CALLER, authority=OTHER_CA),
    }
    for who, pair in pairs.items():
        folder.put(**{f"{who}.crt": pair.chain, f"{who}.key": pair.key})
    own = ("--tls-cert", str(folder.path("gateway.crt")), "--tls-key", str(folder.path("gateway.key")))
    callers = ("--tls-client-ca", str(folder.path("ca")), "--tls-allowed-sans", CALLER)
    served = await stage.serve(*own, *callers)
    seen = []
    for who in ("caller", "stranger", "foreigner", ""):
        shown = {"certificate": str(folder.path(f"{who}.crt")), "key": str(folder.path(f"{who}.key"))} if who else {}
        await stage.connect(served.address, ca=str(folder.path("ca")), **shown)
        seen.append(code_of(await stage.list_repos(timeout_ms=5_000)))
    return ", ".join(seen)
