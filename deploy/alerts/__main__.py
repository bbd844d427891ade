"""Play all faults at once, or those whose names are given; say of each what came of it."""

# ruff: noqa: T201 - it prints

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from deploy.alerts import faults, prometheus
from deploy.alerts.alerts import Stage, episodes
from deploy.alerts.certificates import ENDS, RELOAD_FAILED, certificates
from deploy.alerts.dashboard import look_at_all
from deploy.alerts.faults import AVAILABILITY, LATENCY, Fault
from deploy.alerts.scaling import FACTOR, write_rules
from deploy.check.tools import WrongError

ALL = (
    Fault(faults.burning, AVAILABILITY),
    Fault(faults.slow, LATENCY),
    Fault(faults.sick, ("SwrGatewayUpstreamErrors", "SwrGatewayRetryBudgetSpent")),
    Fault(faults.left_alone, ("SwrGatewayCircuitOpen",), ("SwrGatewayUpstreamErrors",)),
    Fault(faults.full, ("SwrGatewayNearlyFull", "SwrGatewayOverloaded"), (*AVAILABILITY, *LATENCY)),
    Fault(faults.gone, ("SwrGatewayNotReady", "SwrGatewayNoneReady")),
    Fault(faults.refused, ("SwrGatewayCredentialRejected",)),
    Fault(faults.starved, ("SwrGatewayEventLoopLag",), ("SwrGatewayNotReady", "SwrGatewayNoneReady")),
    Fault(
        faults.token,
        ("SwrGatewayTokenRenewalFails", "SwrGatewayTokenNearItsEnd"),
        ("SwrGatewayNotReady", "SwrGatewayNoneReady"),
    ),
    Fault(certificates, (f"{ENDS}:warning", f"{ENDS}:critical", RELOAD_FAILED)),
    Fault(faults.workers, ("SwrGatewayWorkersRestart",), ("SwrGatewayNotReady", "SwrGatewayNoneReady")),
    Fault(faults.hung, ("SwrGatewayWorkersNotReady",), ("SwrGatewayEventLoopLag",)),
    Fault(faults.unread, ("SwrGatewayLogLinesDropped",)),
)

# What a machine brings about that has too much else to do: scrapes that take too long, and calls.
OF_A_BUSY_MACHINE = {"SwrGatewayNotReady", "SwrGatewayNoneReady", "SwrGatewayEventLoopLag", *LATENCY}


async def check(names: list[str]) -> None:
    """Play faults.

    Args:
        names: Beginnings of their names; none are all, and the dashboard is looked at too.

    Raises:
        WrongError: An alert does not fire once and clear, another one does, or a panel shows nothing.
    """
    chosen = [fault for fault in ALL if not names or fault.job.startswith(tuple(names))]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        rules = write_rules(work / "rules.yaml")
        if not names:
            _expect_all(rules)
        async with prometheus.running(work, work / "rules.yaml") as server:
            begin, ended = time.time(), dict[str, float]()
            results = await asyncio.gather(
                *(_play(fault, server, work, ended) for fault in chosen), return_exceptions=True
            )
            end = time.time()
            problems = [str(result) or repr(result) for result in results if isinstance(result, BaseException)]
            problems += _compare(chosen, await episodes(server, begin, ended))
            if not names:
                asked, empty = await look_at_all(server, begin, end)
                problems += empty
                print(f"ok     {asked - len(empty)} of the dashboard's {asked} queries show something", flush=True)
            if problems:
                raise WrongError("\n".join(problems))
            print(f"ok     an hour was {3600 // FACTOR} s: each alert fired once", flush=True)


async def _play(fault: Fault, server: prometheus.Server, work: Path, ended: dict[str, float]) -> None:
    began = time.monotonic()
    folder = work / fault.job
    folder.mkdir()
    try:
        await fault.play(Stage(server, fault.job, fault.alerts, folder, ended))
    except TimeoutError:
        raise WrongError(f"{fault.job}: its gateway does not serve, or is not scraped") from None
    said = (fault.play.__doc__ or "").strip()
    print(f"ok     {said} Fired and cleared in {time.monotonic() - began:.0f} s: {', '.join(fault.alerts)}", flush=True)


def _expect_all(rules: list[dict[str, object]]) -> None:
    shipped = {str(rule["alert"]) for rule in rules if "alert" in rule}
    played = {alert.partition(":")[0] for fault in ALL for alert in fault.alerts}
    if shipped != played:
        raise WrongError(f"not played, or no alert: {', '.join(sorted(shipped ^ played))}")


def _compare(chosen: list[Fault], fired: dict[tuple[str, str], int]) -> list[str]:
    problems = []
    for fault in chosen:
        of_job = {name: count for (job, name), count in fired.items() if job == fault.job}
        for name, count in of_job.items():
            known = {name, name.partition(":")[0]}
            if known & set(fault.alerts):
                problems += [f"{fault.job}: {name} fired {count} times"] if count != 1 else []
            elif known & OF_A_BUSY_MACHINE - set(fault.also):
                print(f"note   {fault.job}: {name} fired too: this machine has too much else to do", flush=True)
            elif not known & set(fault.also):
                problems.append(f"{fault.job}: {name} fired too")
    return problems


def main() -> int:
    """Return the exit code: 1 where something is wrong."""
    try:
        asyncio.run(check(sys.argv[1:]))
    except WrongError as error:
        print(f"WRONG  {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
