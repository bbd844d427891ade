"""What panels ask Prometheus: the labels they select by, and the shapes of their questions."""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
ONE = 'namespace=~"$namespace",job=~"$job",instance=~"$instance"'
JOB = 'namespace=~"$namespace",job=~"$job"'
OURS = f'{ONE},grpc_method=~"gateway.swr.v1.RepoService/.+"'
LISTS = f'{ONE},grpc_method="gateway.swr.v1.RepoService/ListRepos"'
STREAMS = f'{ONE},grpc_method="gateway.swr.v1.RepoService/StreamRepos"'
FAULTS = 'grpc_status=~"UNAVAILABLE|DEADLINE_EXCEEDED|INTERNAL|UNKNOWN|DATA_LOSS"'
RATE = "$__rate_interval"


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
