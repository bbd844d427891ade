"""Whose fault it is: the row "Is it us or the upstream?"."""

from __future__ import annotations

from deploy.grafana.dashboard.panels import GREEN, RED, Panel, dashed, graph, heatmap, states, steps
from deploy.grafana.dashboard.queries import LISTS, ONE, RATE, quantile, query, rate


def panels() -> list[Panel]:
    """Return the panels."""
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
