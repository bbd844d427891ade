"""Rules and queries with shorter times, and nothing else changed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from deploy.check.tools import DEPLOY, WrongError

FACTOR = 30
SCRAPE_INTERVAL = "15s"  # deploy/components/prometheus/service-monitor.yaml
RULES = DEPLOY / "prometheus" / "rules.yaml"

_MILLISECONDS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION = re.compile(r"\b(\d+)([smhdw])\b")
# A rate times the seconds of its window is a count.
_COUNT = re.compile(r"(:rate(\w+) \* )([\d* ]*\d)(?= > )")


def scaled(duration: str) -> str:
    """Return a duration, shortened.

    Raises:
        WrongError: It is no whole number of milliseconds.
    """
    milliseconds, rest = divmod(_read(duration), FACTOR)
    if rest:
        raise WrongError(f"{duration} cannot be divided by {FACTOR}")
    return f"{milliseconds}ms"


def seconds(duration: str) -> float:
    """Return a shortened duration in seconds."""
    return _read(duration) / FACTOR / 1000


def scaled_query(query: str) -> str:
    """Return a query whose windows and offsets are shortened, and with them the seconds that rates are multiplied by.

    Raises:
        WrongError: A rate is multiplied by the seconds of another window.
    """
    query = _COUNT.sub(_scaled_count, query)
    query = re.sub(r"\[[^\]]+\]", _each_duration, query)
    return re.sub(r"\boffset \w+", _each_duration, query)


def write_rules(path: Path) -> list[dict[str, Any]]:
    """Write the rules for a server, shortened; return them."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["spec"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    for rule in rules:
        rule["expr"] = scaled_query(rule["expr"])
        if "for" in rule:
            rule["for"] = scaled(rule["for"])
    path.write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
    return rules


def _each_duration(found: re.Match[str]) -> str:
    return _DURATION.sub(lambda duration: scaled(duration[0]), found[0])


def _scaled_count(found: re.Match[str]) -> str:
    product = 1
    for factor in found[3].split("*"):
        product *= int(factor)
    if product * 1000 != _read(found[2]):
        raise WrongError(f"{found[0]}: {found[2]} are not {product} seconds")
    return f"{found[1]}{product / FACTOR}"


def _read(duration: str) -> int:
    found = _DURATION.fullmatch(duration)
    if found is None:
        raise WrongError(f"{duration} is no duration that is known here")
    return int(found[1]) * _MILLISECONDS[found[2]]
