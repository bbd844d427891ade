"""The kinds of panels: a number, lines, a heat map, states."""

from __future__ import annotations

from typing import TypeAlias

from deploy.grafana.dashboard.queries import SOURCE, Json

Panel: TypeAlias = Json

GREEN, YELLOW, ORANGE, RED, BLUE = "green", "yellow", "orange", "red", "blue"


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
