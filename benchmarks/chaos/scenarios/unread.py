"""Nobody reads standard error: serving does not wait for a log line."""

from __future__ import annotations

from benchmarks.chaos.callers import OK, Caller
from benchmarks.chaos.load import at_once
from benchmarks.chaos.scenario import Numbers, scenario
from benchmarks.chaos.subjects import ENVOY, GO, Subject
from benchmarks.chaos.upstream import playing

CALLS = 1000
TOGETHER = 20
# Seconds that a process may take to end with nothing in flight.
END = 5.0


@scenario("unread-logs", {f"calls not served of {CALLS}": 0, "seconds until it has ended": END}, beside=(ENVOY, GO))
async def unread_logs(subject: Subject) -> Numbers:
    """Make calls, and say SIGTERM, with a full pipe behind standard error."""
    async with playing() as upstream, subject.serve(upstream.url, reads=False) as served:
        answered = await _answered(served.caller("a"))
        return CALLS - answered, await served.ends(within=2 * END)


async def _answered(caller: Caller) -> int:
    """Count calls that are answered, up to the first that is not: nothing more is to be expected then."""
    answered = 0
    while answered < CALLS:
        outcomes = await at_once(caller, TOGETHER)
        answered += outcomes.count(OK)
        if any(outcome != OK for outcome in outcomes):
            break
    return answered
