"""What callers feel: the row "Are callers served?"."""

from __future__ import annotations

from deploy.grafana.dashboard.panels import BLUE, GREEN, ORANGE, RED, YELLOW, Panel, graph, heatmap, stat, steps
from deploy.grafana.dashboard.queries import FAULTS, JOB, LISTS, ONE, OURS, RATE, STREAMS, quantile, query, rate

# What the objectives of deploy/prometheus/rules.yaml leave for failures, and for slow calls.
FAILURES_ALLOWED, SLOW_ALLOWED = "0.001", "0.01"


def panels() -> list[Panel]:
    """Return the panels."""
    range_calls = f"sum(increase(grpc_server_call_duration_seconds_count{{{OURS}}}[$__range]))"
    range_faults = (
        f"sum(increase(grpc_server_call_duration_seconds_count{{{OURS},{FAULTS}}}[$__range])"
        f' or increase(swr_gateway_call_failures_total{{{ONE},reason="GATEWAY_OVERLOADED"}}[$__range]))'
    )
    range_lists = f'grpc_server_call_duration_seconds_count{{{LISTS},grpc_status="OK"}}'
    range_fast = f'grpc_server_call_duration_seconds_bucket{{{LISTS},grpc_status="OK",le="1.0"}}'
    burn = "namespace_job:swr_gateway_call_faults:rate{0}{{{1}}} / namespace_job:swr_gateway_calls:rate{0}{{{1}}} / {2}"
    slow = (
        "namespace_job:swr_gateway_slow_lists:rate{0}{{{1}}} "
        "/ namespace_job:swr_gateway_answered_lists:rate{0}{{{1}}} / {2}"
    )
    return [
        stat(
            "Availability",
            "Part of the calls, in the time shown, that did not fail by the service's fault; the objective is 99.9 %. "
            "Callers' mistakes are no failures. Below the objective: look at *Failures by reason*.",
            query(f"1 - ({range_faults} or vector(0)) / {range_calls}"),
            "percentunit",
            steps((0.99, ORANGE), (0.999, GREEN), base=RED),
            decimals=3,
        ),
        stat(
            "Fast enough",
            "Part of the answered ListRepos calls, in the time shown, that took no longer than a second; the objective "
            "is 99 %. Below it: look at *Where the time goes by*.",
            query(f"sum(increase({range_fast}[$__range])) / sum(increase({range_lists}[$__range]))"),
            "percentunit",
            steps((0.95, ORANGE), (0.99, GREEN), base=RED),
            decimals=2,
        ),
        stat(
            "Calls",
            "Calls of RepoService a second, now. None, though there should be some: callers cannot reach the gateway, "
            "or have given up.",
            query(f"sum(rate(grpc_server_call_started_total{{{OURS}}}[{RATE}]))"),
            "reqps",
            steps(base=BLUE),
        ),
        stat(
            "Slowest of a hundred",
            "ListRepos calls that are answered: 99 of 100 take less than this. Look here first where callers say slow.",
            query(quantile(0.99, "grpc_server_call_duration_seconds", f'{LISTS},grpc_status="OK"')),
            "s",
            steps((0.5, YELLOW), (1, RED)),
        ),
        stat(
            "Ready",
            "Gateways that are ready. Fewer than there should be: look at *Ready, by gateway*, and ask one of them "
            "`/readyz`, which says why.",
            query(f"sum(swr_gateway_ready{{{ONE}}} > bool 0)"),
            "short",
            steps((1, GREEN), base=RED),
        ),
        stat(
            "Alerts",
            "Alerts of deploy/prometheus/rules.yaml that fire. Each has a section in docs/alerts.md.",
            query('count(ALERTS{alertname=~"SwrGateway.+",alertstate="firing"}) or vector(0)'),
            "short",
            steps((1, RED)),
        ),
        graph(
            "Calls by status",
            "Calls of RepoService that ended, a second. The colours of a healthy hour hardly change; a new one is the "
            "beginning of a story. Which statuses are whose fault: docs/errors.md.",
            [query(rate("grpc_server_call_duration_seconds_count", OURS, "grpc_status"), "{{grpc_status}}")],
            "reqps",
            stacked=True,
        ),
        graph(
            "Failures by reason",
            "Why calls failed, in the words of docs/errors.md, callers' mistakes among them. `UPSTREAM_` "
            "is the upstream's answer, or its silence; `GATEWAY_` is our own: full, draining or broken.",
            [query(rate("swr_gateway_call_failures_total", ONE, "reason"), "{{reason}}")],
            "reqps",
            stacked=True,
        ),
        graph(
            "Error budgets' burn rate",
            "How many times too fast the budget of 30 days is spent; at 1 it is just gone at their end. A page comes "
            "at 14.4 for an hour or 6 for six hours, a warning at 1 for three days. Needs the rules of "
            "deploy/prometheus.",
            [
                *(
                    query(burn.format(window, JOB, FAILURES_ALLOWED), f"failures, {window}")
                    for window in ("5m", "1h", "6h", "3d")
                ),
                *(query(slow.format(window, JOB, SLOW_ALLOWED), f"slow, {window}") for window in ("1h", "3d")),
            ],
            thresholds=steps((1, YELLOW), (6, ORANGE), (14.4, RED)),
        ),
        graph(
            "Time of ListRepos",
            "From a call's arrival to its end, answered calls. Only the 99th up: a few pages are large or a few "
            "requests were sent again. All of them up: the upstream, or no processor time.",
            [
                query(quantile(part, "grpc_server_call_duration_seconds", f'{LISTS},grpc_status="OK"'), name)
                for part, name in ((0.5, "half"), (0.95, "95 of 100"), (0.99, "99 of 100"))
            ],
            "s",
            log=True,
        ),
        heatmap(
            "Time of ListRepos, all of it",
            "Each column is the calls of one moment by the time they took. Two bands are two kinds of calls: "
            "remembered or shared ones and those that wait for the upstream; a band at 5 s are "
            "requests that ran out of time.",
            query(f"sum by (le) (increase(grpc_server_call_duration_seconds_bucket{{{LISTS}}}[{RATE}]))", "{{le}}"),
            "s",
        ),
        graph(
            "Time of StreamRepos",
            "Whole streams: as long as the list is and the caller reads. No objective hangs on it; look here where an "
            "export takes longer than it did.",
            [
                query(quantile(part, "grpc_server_call_duration_seconds", STREAMS), name)
                for part, name in ((0.5, "half"), (0.99, "99 of 100"))
            ],
            "s",
            log=True,
        ),
    ]
