"""How much more there may be: the row "Are we full?"."""

from __future__ import annotations

from deploy.grafana.dashboard.panels import RED, YELLOW, Panel, dashed, graph, steps
from deploy.grafana.dashboard.queries import LISTS, ONE, OURS, quantile, query, rate


def panels() -> list[Panel]:
    """Return the panels."""
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
