"""Writes the dashboard: `python deploy/grafana/dashboard.py > deploy/grafana/swr-gateway.json`.

A row is a question, and each panel says what it means and when to look at it. The JSON is committed, and a test proves
that it is fresh: change this file, never the JSON.
"""
# ruff: noqa: INP001 - a script, no package

from __future__ import annotations

import json
import sys
from typing import Any, TypeAlias

Panel: TypeAlias = dict[str, Any]
Json: TypeAlias = dict[str, Any]

WIDTH = 24
GREEN, YELLOW, ORANGE, RED, BLUE = "green", "yellow", "orange", "red", "blue"

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
ONE = 'namespace=~"$namespace",job=~"$job",instance=~"$instance"'
JOB = 'namespace=~"$namespace",job=~"$job"'
OURS = f'{ONE},grpc_method=~"gateway.swr.v1.RepoService/.+"'
LISTS = f'{ONE},grpc_method="gateway.swr.v1.RepoService/ListRepos"'
STREAMS = f'{ONE},grpc_method="gateway.swr.v1.RepoService/StreamRepos"'
FAULTS = 'grpc_status=~"UNAVAILABLE|DEADLINE_EXCEEDED|INTERNAL|UNKNOWN|DATA_LOSS"'
RATE = "$__rate_interval"

# What the objectives of deploy/prometheus/rules.yaml leave for failures, and for slow calls.
FAILURES_ALLOWED, SLOW_ALLOWED = "0.001", "0.01"


def rate(metric: str, labels: str = ONE, by: str = "") -> str:
    """Return the rate of a counter, in all or by labels."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{labels}}}[{RATE}]))"


def quantile(part: float, metric: str, labels: str = ONE, by: str = "") -> str:
    """Return a quantile of a histogram."""
    grouping = f"le, {by}" if by else "le"
    return f"histogram_quantile({part}, sum by ({grouping}) (rate({metric}_bucket{{{labels}}}[{RATE}])))"


def query(expr: str, legend: str = "", **more: Any) -> Json:
    """Return one query of a panel."""
    return {"datasource": SOURCE, "editorMode": "code", "expr": expr, "legendFormat": legend or "__auto", **more}


def steps(*levels: tuple[float, str], base: str = GREEN) -> Json:
    """Return colours by value."""
    return {
        "mode": "absolute",
        "steps": [{"color": base, "value": None}, *({"color": color, "value": value} for value, color in levels)],
    }


def panel(kind: str, title: str, text: str, queries: list[Json], size: tuple[int, int], config: Json) -> Panel:
    """Return a panel; where it stands is decided by `laid_out`."""
    for index, one in enumerate(queries):
        one["refId"] = chr(ord("A") + index)
    return {
        "type": kind,
        "title": title,
        "description": text,
        "datasource": SOURCE,
        "gridPos": {"w": size[0], "h": size[1]},
        "targets": queries,
        **config,
    }


def stat(
    title: str, text: str, one: Json, unit: str, thresholds: Json, *, decimals: int | None = None, height: int = 5
) -> Panel:
    """Return a number, as it is now."""
    one["instant"] = True
    config = {
        "fieldConfig": {
            "defaults": {"unit": unit, "thresholds": thresholds, "noValue": "none"}
            | ({} if decimals is None else {"decimals": decimals}),
            "overrides": [],
        },
        "options": {
            "colorMode": "value",
            "graphMode": "none",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "auto",
        },
    }
    return panel("stat", title, text, [one], (4, height), config)


def graph(
    title: str,
    text: str,
    queries: list[Json],
    unit: str = "short",
    *,
    width: int = 8,
    stacked: bool = False,
    log: bool = False,
    top: float | None = None,
    thresholds: Json | None = None,
    overrides: list[Json] | None = None,
) -> Panel:
    """Return lines over time."""
    custom: Json = {
        "drawStyle": "line",
        "lineInterpolation": "stepAfter" if unit == "bool" else "linear",
        "lineWidth": 1,
        "fillOpacity": 25 if stacked else 8,
        "showPoints": "never",
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "scaleDistribution": {"type": "log", "log": 10} if log else {"type": "linear"},
        "thresholdsStyle": {"mode": "dashed" if thresholds else "off"},
    }
    defaults: Json = {"unit": unit, "custom": custom, "color": {"mode": "palette-classic"}}
    if not log:
        defaults["min"] = 0
    if top is not None:
        defaults["max"] = top
    if thresholds:
        defaults["thresholds"] = thresholds
    config = {
        "fieldConfig": {"defaults": defaults, "overrides": overrides or []},
        "options": {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["mean", "max"], "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }
    return panel("timeseries", title, text, queries, (width, 8), config)


def heatmap(title: str, text: str, one: Json, unit: str, *, width: int = 8) -> Panel:
    """Return a histogram over time."""
    one["format"] = "heatmap"
    config = {
        "fieldConfig": {"defaults": {"custom": {"scaleDistribution": {"type": "linear"}}}, "overrides": []},
        "options": {
            "calculate": False,
            "cellGap": 1,
            "color": {"mode": "scheme", "scheme": "Spectral", "reverse": True, "steps": 64},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "tooltip": {"mode": "single", "yHistogram": True},
            "yAxis": {"unit": unit, "axisPlacement": "left"},
        },
    }
    return panel("heatmap", title, text, [one], (width, 8), config)


def states(title: str, text: str, one: Json, mappings: dict[str, tuple[str, str]], *, width: int = 8) -> Panel:
    """Return a band of states for each line."""
    options = {
        value: {"text": label, "color": color, "index": index}
        for index, (value, (label, color)) in enumerate(mappings.items())
    }
    config = {
        "fieldConfig": {
            "defaults": {
                "custom": {"fillOpacity": 70, "lineWidth": 0},
                "color": {"mode": "thresholds"},
                "mappings": [{"type": "value", "options": options}],
                "thresholds": steps(),
            },
            "overrides": [],
        },
        "options": {
            "mergeValues": True,
            "showValue": "never",
            "rowHeight": 0.85,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "single"},
        },
    }
    return panel("state-timeline", title, text, [one], (width, 8), config)


def dashed(name: str) -> Json:
    """Return how a limit is drawn."""
    return {
        "matcher": {"id": "byRegexp", "options": name},
        "properties": [
            {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 8]}},
            {"id": "custom.fillOpacity", "value": 0},
            {"id": "color", "value": {"mode": "fixed", "fixedColor": RED}},
        ],
    }


def served() -> list[Panel]:
    """Return the panels of the first question: what callers feel."""
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


def upstream() -> list[Panel]:
    """Return the panels of the second question: whose fault it is."""
    return [
        graph(
            "Where the time goes by",
            "99 of 100 take less than this. Calls as slow as requests: the upstream is slow. Calls much slower than "
            "requests: they wait for a permit, for a retry or for a token. Conversion or the loop near them: it is us.",
            [
                query(quantile(0.99, "grpc_server_call_duration_seconds", LISTS), "call, ListRepos"),
                query(quantile(0.99, "http_client_request_duration_seconds"), "request to the upstream"),
                query(quantile(0.99, "swr_gateway_conversion_duration_seconds"), "conversion of a page"),
                query(quantile(0.99, "swr_gateway_event_loop_lag_seconds"), "lag of the event loop"),
            ],
            "s",
            log=True,
        ),
        graph(
            "Answers of the upstream",
            "Requests to the upstream by HTTP status; `none` got no answer. 429 and 403 in numbers: its rate limit, "
            "or our credential.",
            [
                query(
                    rate(
                        "http_client_request_duration_seconds_count",
                        f'{ONE},http_response_status_code!=""',
                        "http_response_status_code",
                    ),
                    "{{http_response_status_code}}",
                ),
                query(
                    rate("http_client_request_duration_seconds_count", f'{ONE},http_response_status_code=""'), "none"
                ),
            ],
            "reqps",
            stacked=True,
        ),
        graph(
            "Failed requests by reason",
            "Requests to the upstream that brought no page, each try by itself. `UPSTREAM_UNREACHABLE`: network or "
            "DNS; `UPSTREAM_TIMEOUT`: it is slow; `CUT_OFF`: the caller did not wait for it.",
            [
                query(
                    rate("swr_gateway_upstream_attempts_total", f'{ONE},result!="ok"', "result"),
                    "{{result}}",
                )
            ],
            "reqps",
            stacked=True,
        ),
        graph(
            "Sent again, and not",
            "Retries by what had failed, and those that the budget refused. Retries without failed calls: the gateway "
            "hides a weak upstream from callers. Refused ones: it cannot any more.",
            [
                query(rate("swr_gateway_upstream_retries_total", ONE, "cause"), "{{cause}}"),
                query(rate("swr_gateway_upstream_retries_refused_total"), "refused, budget spent"),
            ],
            "reqps",
            overrides=[dashed("refused.*")],
        ),
        graph(
            "Retry budget",
            "Retries that may be sent at once, 10 a worker at the most (`passthrough`: 100). Near 0 for minutes: more "
            "than one request in ten fails.",
            [query(f"swr_gateway_upstream_retry_budget{{{ONE}}}", "{{instance}}")],
            thresholds=steps((1, GREEN), base=RED),
        ),
        states(
            "Circuit, by gateway",
            "Red while a gateway leaves the upstream alone, because half of its requests failed. All of them red: it "
            "is the upstream. One of them red: it is that gateway's network. With `passthrough`: for all tokens.",
            query(f"swr_gateway_upstream_circuit_open{{{ONE}}}", "{{instance}}"),
            {"0": ("closed", GREEN), "1": ("open", RED)},
        ),
        graph(
            "Answered without a request of their own",
            "Calls that were coalesced with an identical one, or got a remembered page; `stale` ones came because "
            "the upstream was unavailable. Remembered pages need `--cache-ttl` or `--stale-if-error`.",
            [
                query(rate("swr_gateway_coalesced_calls_total"), "coalesced"),
                query(rate("swr_gateway_cached_pages_total", ONE, "how"), "remembered, {{how}}"),
            ],
            "reqps",
            width=12,
            stacked=True,
        ),
        heatmap(
            "Time of requests to the upstream, all of it",
            "What the upstream takes by itself, without queue and retries. Compare it to *Time of ListRepos, all of "
            "it*.",
            query(f"sum by (le) (increase(http_client_request_duration_seconds_bucket{{{ONE}}}[{RATE}]))", "{{le}}"),
            "s",
            width=12,
        ),
        graph(
            "Kept connections that were stale",
            "Requests that went out again at once over a fresh connection, because a kept one was lost or silent, and "
            "kept connections that were closed because something arrived unasked. Near the number of requests: "
            "something in between forgets connections sooner than we do, or answers what nobody asked.",
            [
                query(rate("swr_gateway_upstream_resends_total", ONE, "cause"), "sent again, {{cause}}"),
                query(rate("swr_gateway_upstream_discarded_connections_total"), "closed unused"),
            ],
            "reqps",
            width=12,
        ),
    ]


def full() -> list[Panel]:
    """Return the panels of the third question: how much more there may be."""
    return [
        graph(
            "Permits for the upstream",
            "Requests under way, and how many there may be (`--max-in-flight`). Over 80 % for long: scale out, or find "
            "out why the upstream has become slower: at the same load, permits in use grow with its time.",
            [
                query(f"swr_gateway_upstream_in_flight{{{ONE}}}", "{{instance}}"),
                query(f"max(swr_gateway_upstream_in_flight_limit{{{ONE}}})", "limit of one"),
            ],
            overrides=[dashed("limit.*")],
        ),
        graph(
            "Queue",
            "Calls that wait for a permit, for `--queue-timeout` at the most, and how many may (`--max-queue`). It is "
            "empty unless all permits are taken, but for those that are kept for other tokens.",
            [
                query(f"swr_gateway_upstream_queue{{{ONE}}}", "{{instance}}"),
                query(f"max(swr_gateway_upstream_queue_limit{{{ONE}}})", "limit of one"),
            ],
            overrides=[dashed("limit.*")],
        ),
        graph(
            "Refused for overload",
            "Calls that got RESOURCE_EXHAUSTED: by us, because the queue was full or slow, or by the upstream's rate "
            "limit. More gateways help against the first, and make the second worse.",
            [
                query(
                    rate("swr_gateway_call_failures_total", f'{ONE},reason="GATEWAY_OVERLOADED"', "instance"),
                    "by {{instance}}",
                ),
                query(
                    rate("swr_gateway_call_failures_total", f'{ONE},reason="UPSTREAM_RATE_LIMITED"'), "by the upstream"
                ),
            ],
            "reqps",
            stacked=True,
        ),
        graph(
            "Calls in flight",
            "Calls that are being served, streams and health watches among them. Autoscalers look at *Permits for the "
            "upstream*, which idle watches do not take. One gateway far over the others: callers are not balanced, "
            "because they keep one connection.",
            [query(f"swr_gateway_calls_in_flight{{{ONE}}}", "{{instance}}")],
        ),
        graph(
            "Calls by gateway",
            "Calls a second of each. It should be level; where it is not, balance in the client or in a proxy.",
            [query(rate("grpc_server_call_started_total", OURS, "instance"), "{{instance}}")],
            "reqps",
        ),
        graph(
            "Lag of the event loop, by gateway",
            "How late the loop goes on, 99 of 100 beats. Over 0.3 s every call is slower by that. Almost always too "
            "little processor time: look at *Processor*, and at throttling in the cluster's own dashboards.",
            [query(quantile(0.99, "swr_gateway_event_loop_lag_seconds", ONE, "instance"), "{{instance}}")],
            "s",
            thresholds=steps((0.1, YELLOW), (0.3, RED)),
        ),
        graph(
            "Repositories",
            "Rows listed a second. Up without more calls: callers ask for more, or lists have grown.",
            [query(rate("swr_gateway_rows_total"), "rows")],
            "short",
        ),
        graph(
            "Bytes on the callers' side",
            "Sent and received, without what HTTP/2 and TLS add.",
            [
                query(rate("grpc_server_call_sent_total_compressed_message_size_bytes_sum"), "sent"),
                query(rate("grpc_server_call_rcvd_total_compressed_message_size_bytes_sum"), "received"),
            ],
            "Bps",
        ),
        graph(
            "Size of replies",
            "ListRepos, 99 of 100. gRPC clients refuse messages over 4 MiB unless told otherwise: where it comes near, "
            "callers should ask for fewer, or stream.",
            [
                query(
                    quantile(part, "grpc_server_call_sent_total_compressed_message_size_bytes", LISTS),
                    name,
                )
                for part, name in ((0.5, "half"), (0.99, "99 of 100"))
            ],
            "bytes",
            thresholds=steps((4 * 2**20, RED)),
        ),
        graph(
            "Slow readers",
            "What waits for callers to read it. Up for long: a caller asks for more than it takes; after "
            "`--write-timeout` its call is ended. The log's `caller` says who, with mutual TLS.",
            [query(f"swr_gateway_messages_waiting_bytes{{{ONE}}}", "{{instance}}")],
            "bytes",
        ),
        graph(
            "Calls that nobody took",
            "Calls that were dropped because their callers did not read, and answers whose callers had gone. Over a "
            "few in a hundred calls: deadlines of callers are shorter than the upstream takes.",
            [
                query(rate("swr_gateway_calls_dropped_total"), "dropped"),
                query(rate("swr_gateway_answers_lost_total"), "callers had gone"),
            ],
            "reqps",
        ),
    ]


def last() -> list[Panel]:
    """Return the panels of the fourth question: what ends by itself."""
    until = f"swr_gateway_certificate_expiry_timestamp_seconds{{{ONE}}} - time()"
    return [
        stat(
            "Certificates end in",
            "The certificate in use that ends first, for callers (`server_tls`) and for the upstream (`upstream_tls`). "
            "Under two weeks: find out why nobody renewed it. None where TLS is a mesh's business.",
            query(f"min by (what) ({until})", "{{what}}"),
            "s",
            steps((2 * 86400, ORANGE), (14 * 86400, GREEN), base=RED),
            height=8,
        ),
        stat(
            "Token ends in",
            "The token that ends first, with `--auth iam`. It is renewed at about 80 % of its life, so it never gets "
            "below a fifth of it. Far below zero: there is no token at all.",
            query(f"min(swr_gateway_token_expiry_timestamp_seconds{{{ONE}}} - time())"),
            "s",
            steps((0, ORANGE), (3600, GREEN), base=RED),
            height=8,
        ),
        graph(
            "Tokens asked of IAM",
            "Renewals by result, an hour. Any other than `ok`: the log says what IAM answered, and when the "
            "next try is.",
            [query(f"sum by (result) (increase(swr_gateway_token_renewals_total{{{ONE}}}[1h]))", "{{result}}")],
        ),
        graph(
            "Files read again",
            "Certificates, authorities and token files that changed, an hour. An `error` is followed by an `ok`, or "
            "the last good file is still in use: see *Files that cannot be used*.",
            [
                query(
                    f"sum by (what, result) (increase(swr_gateway_file_reloads_total{{{ONE}}}[1h]))",
                    "{{what}}, {{result}}",
                )
            ],
        ),
        graph(
            "Credentials that were refused",
            "Answers that refuse who asks. With `--auth passthrough` they are callers'; with any other they are ours: "
            "see whether key or token were changed, and whether the permission `swr:repo:listRepos` is there.",
            [
                query(
                    rate(
                        "swr_gateway_upstream_attempts_total",
                        f'{ONE},result=~"UPSTREAM_CREDENTIAL_REJECTED|UPSTREAM_PERMISSION_DENIED"',
                        "result",
                    ),
                    "{{result}}",
                ),
                query(
                    rate("swr_gateway_call_failures_total", f'{ONE},reason="CREDENTIAL_SOURCE_UNAVAILABLE"'),
                    "calls without a token",
                ),
            ],
            "reqps",
            width=16,
        ),
        states(
            "Files that cannot be used",
            "Red while the last good ones stay in use. They end some day, and a gateway that is started again does not "
            "start: the log says which file and what is wrong with it.",
            query(f"max by (instance, what) (swr_gateway_file_stale{{{ONE}}})", "{{what}}, {{instance}}"),
            {"0": ("in order", GREEN), "1": ("cannot be used", RED)},
        ),
    ]


def process() -> list[Panel]:
    """Return the panels of the last question: the machine below."""
    return [
        states(
            "Ready, by gateway",
            "What each says of itself: red while it starts, drains, has no token, or its event loop stands "
            "still. It says nothing of the upstream.",
            query(f"swr_gateway_ready{{{ONE}}} > bool 0", "{{instance}}"),
            {"0": ("not ready", RED), "1": ("ready", GREEN)},
        ),
        graph(
            "Versions",
            "Gateways by version. Two at once, and no rollout under way: one has got stuck.",
            [query(f"sum by (version) (swr_gateway_build_info{{{ONE}}})", "{{version}}")],
            stacked=True,
        ),
        graph(
            "Processor",
            "Processors in use. One process uses one at the most: near 1, add gateways or `--workers`. Shown by "
            "gateways with one worker; for the others look at the container's.",
            [query(rate("process_cpu_seconds_total", ONE, "instance"), "{{instance}}")],
            thresholds=steps((0.8, YELLOW), (1, RED)),
        ),
        graph(
            "Memory",
            "Resident memory. It levels out: 32 MiB of remembered rows, 64 MiB of remembered pages at the most. A line "
            "that only climbs is a leak. Shown by gateways with one worker.",
            [query(f"process_resident_memory_bytes{{{ONE}}}", "{{instance}}")],
            "bytes",
        ),
        graph(
            "Open files",
            "Connections of callers and to the upstream, mostly, as a part of what the process may have. Near 1 no "
            "more can connect. Shown by gateways with one worker.",
            [query(f"process_open_fds{{{ONE}}} / process_max_fds{{{ONE}}}", "{{instance}}")],
            "percentunit",
            top=1,
        ),
        graph(
            "Workers",
            "Processes that share the port, those of them that serve, and those that died and were started again, an "
            "hour. Only with `--workers` over 1. Fewer that serve: `/readyz` says why. Restarts: out of memory, as a "
            "rule; the supervisor's log has the exit code.",
            [
                query(f"swr_gateway_workers{{{ONE}}}", "{{instance}}"),
                query(f"swr_gateway_ready{{{ONE}}} and swr_gateway_workers", "serve, {{instance}}"),
                query(f"increase(swr_gateway_worker_restarts_total{{{ONE}}}[1h])", "restarts, {{instance}}"),
            ],
            overrides=[dashed("restarts.*")],
        ),
        graph(
            "Conversion",
            "Processor's time for one page. It is up where pages are new or larger, and down where they were seen "
            "before.",
            [
                query(quantile(part, "swr_gateway_conversion_duration_seconds"), name)
                for part, name in ((0.5, "half"), (0.99, "99 of 100"))
            ],
            "s",
            log=True,
        ),
        graph(
            "Remembered replies",
            "Memory of `--cache-ttl` and `--stale-if-error`, 64 MiB at the most a process.",
            [query(f"swr_gateway_cache_bytes{{{ONE}}}", "{{instance}}")],
            "bytes",
        ),
        graph(
            "Log lines left out",
            "Calls without a line in the log, because there were more than 50 a second. No fault: metrics count all of "
            "them.",
            [query(rate("swr_gateway_access_log_dropped_total", ONE, "instance"), "{{instance}}")],
            "cps",
        ),
        graph(
            "Log lines dropped",
            "Lines that nobody took from standard error: the log collector stands still. Calls do not wait for it.",
            [query(rate("swr_gateway_log_lines_dropped_total", ONE, "instance"), "{{instance}}")],
            "cps",
        ),
    ]


ROWS = (
    ("Are callers served?", served),
    ("Is it us or the upstream?", upstream),
    ("Are we full?", full),
    ("Do credentials and certificates last?", last),
    ("The process itself", process),
)


def laid_out() -> list[Panel]:
    """Return rows and panels, from left to right and from top to bottom."""
    panels: list[Panel] = []
    y = 0
    for title, make in ROWS:
        panels.append({"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": _at(0, y, WIDTH, 1)})
        y += 1
        x = height = 0
        for one in make():
            width, tall = one["gridPos"]["w"], one["gridPos"]["h"]
            if x + width > WIDTH:
                x, y, height = 0, y + height, 0
            one["gridPos"] = _at(x, y, width, tall)
            x, height = x + width, max(height, tall)
            panels.append(one)
        y += height
    for number, one in enumerate(panels, start=1):
        one["id"] = number
    return panels


def _at(x: int, y: int, width: int, height: int) -> Json:
    return {"x": x, "y": y, "w": width, "h": height}


def variable(name: str, label: str, text: str, source: str) -> Json:
    """Return a variable with many values, all of them by default.

    "All" is `.*`: it fits targets that have no such label, too.
    """
    return {
        "name": name,
        "label": label,
        "description": text,
        "type": "query",
        "datasource": SOURCE,
        "definition": source,
        "query": {"query": source, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def annotation(name: str, color: str, expr: str, title: str, *, enabled: bool) -> Json:
    """Return marks on the time axis."""
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": enabled,
        "iconColor": color,
        "expr": expr,
        "titleFormat": title,
        "step": "60s",
    }


def dashboard() -> Json:
    """Return the dashboard."""
    return {
        "uid": "swr-gateway",
        "title": "swr-gateway",
        "description": "Rows are questions; each panel says what it means. Which one to look at when: docs/metrics.md.",
        "tags": ["swr-gateway", "grpc"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Data source",
                    "description": "The Prometheus that scrapes the gateways.",
                    "type": "datasource",
                    "query": "prometheus",
                    "refresh": 1,
                    "current": {},
                },
                variable("namespace", "Namespace", "Of Kubernetes.", "label_values(swr_gateway_build_info, namespace)"),
                variable(
                    "job",
                    "Job",
                    "What Prometheus calls a group of gateways.",
                    'label_values(swr_gateway_build_info{namespace=~"$namespace"}, job)',
                ),
                variable(
                    "instance", "Gateway", "One of them.", f"label_values(swr_gateway_build_info{{{JOB}}}, instance)"
                ),
            ]
        },
        "annotations": {
            "list": [
                annotation(
                    "Alerts",
                    RED,
                    'ALERTS{alertname=~"SwrGateway.+",alertstate="firing"}',
                    "{{alertname}} {{instance}}",
                    enabled=True,
                ),
                annotation(
                    "New versions",
                    BLUE,
                    f"count by (version) (swr_gateway_build_info{{{ONE}}})"
                    f" unless count by (version) (swr_gateway_build_info{{{ONE}}} offset 5m)",
                    "{{version}}",
                    enabled=True,
                ),
            ]
        },
        "panels": laid_out(),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n")
