"""The machine below: the row "The process itself"."""

from __future__ import annotations

from deploy.grafana.dashboard.panels import GREEN, RED, YELLOW, Panel, dashed, graph, states, steps
from deploy.grafana.dashboard.queries import ONE, quantile, query, rate


def panels() -> list[Panel]:
    """Return the panels."""
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
