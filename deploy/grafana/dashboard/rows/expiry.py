"""What ends by itself: the row "Do credentials and certificates last?"."""

from __future__ import annotations

from deploy.grafana.dashboard.panels import GREEN, ORANGE, RED, Panel, graph, stat, states, steps
from deploy.grafana.dashboard.queries import ONE, query, rate


def panels() -> list[Panel]:
    """Return the panels."""
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
