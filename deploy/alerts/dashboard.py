"""What each panel of the dashboard shows of what was scraped."""

from __future__ import annotations

import json
from collections.abc import Iterator

from deploy.alerts.alerts import shows
from deploy.alerts.prometheus import Server
from deploy.alerts.scaling import scaled_query
from deploy.check.tools import DEPLOY

DASHBOARD = DEPLOY / "grafana" / "swr-gateway.json"
# What Grafana puts in. Four scrapes are its `$__rate_interval`.
VARIABLES = {
    "$__rate_interval": "1m",
    "$__range": "3h",
    "$namespace": ".*",
    "$job": ".*",
    "$instance": ".*",
}


def queries() -> Iterator[tuple[str, str]]:
    """Yield the title of a panel or the name of an annotation, and a query of it, with shorter times."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], _filled_in(target["expr"])
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], _filled_in(annotation["expr"])


async def look_at_all(server: Server, begin: float, end: float) -> tuple[int, list[str]]:
    """Ask all queries; return how many there are, and those that show nothing."""
    asked = list(queries())
    empty = [
        f"the panel {title} shows nothing for {query}"
        for title, query in asked
        if not shows(await server.over_time(query, begin, end, "1s"))
    ]
    return len(asked), empty


def _filled_in(query: str) -> str:
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return scaled_query(query)
