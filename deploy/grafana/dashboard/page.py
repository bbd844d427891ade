"""The dashboard as Grafana reads it: rows and panels in their places, variables, marks on the time axis."""

from __future__ import annotations

from deploy.grafana.dashboard.panels import BLUE, RED, Panel
from deploy.grafana.dashboard.queries import JOB, ONE, SOURCE, Json
from deploy.grafana.dashboard.rows import calls, expiry, limits, process, upstream

WIDTH = 24

ROWS = (
    ("Are callers served?", calls.panels),
    ("Is it us or the upstream?", upstream.panels),
    ("Are we full?", limits.panels),
    ("Do credentials and certificates last?", expiry.panels),
    ("The process itself", process.panels),
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
