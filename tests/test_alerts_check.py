"""`make alerts-check` plays the rules that are shipped, with shorter times: here is how they are made shorter."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from deploy.alerts.scaling import RULES, scaled, scaled_query, write_rules
from deploy.check.tools import WrongError


@pytest.mark.parametrize(
    ("query", "shorter"),
    [
        ("rate(a_total[5m])", "rate(a_total[10000ms])"),
        ("avg_over_time(a[3d]) > 14 * 86400", "avg_over_time(a[8640000ms]) > 14 * 86400"),
        ("a offset 10m and b", "a offset 20000ms and b"),
        ("max_over_time(a[1h:5m])", "max_over_time(a[120000ms:10000ms])"),
        ("n:faults:rate1h * 3600 > 10", "n:faults:rate1h * 120.0 > 10"),
        ("n:faults:rate3d * 3 * 86400 > 10", "n:faults:rate3d * 8640.0 > 10"),
        ('a{le="1.0",b=~"5m"} / b:rate5m > 14.4 * 0.001', 'a{le="1.0",b=~"5m"} / b:rate5m > 14.4 * 0.001'),
    ],
)
def test_times_are_shortened_and_nothing_else(query: str, shorter: str) -> None:
    assert scaled_query(query) == shorter


def test_seconds_of_another_window_are_found() -> None:
    with pytest.raises(WrongError, match="1h are not 300 seconds"):
        scaled_query("n:faults:rate1h * 300 > 10")


def test_what_is_no_whole_number_of_milliseconds_is_refused() -> None:
    assert scaled("15s") == "500ms"
    with pytest.raises(WrongError, match="1s cannot be divided"):
        scaled("1s")


def test_the_rules_keep_all_but_their_times(tmp_path: Path) -> None:
    shorter = write_rules(tmp_path / "rules.yaml")
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["spec"]["groups"]
    shipped = [rule for group in groups for rule in group["rules"]]
    assert [rule.get("for") and scaled(rule["for"]) for rule in shipped] == [rule.get("for") for rule in shorter]
    changed = {"expr", "for"}
    assert [{key: value for key, value in rule.items() if key not in changed} for rule in shipped] == [
        {key: value for key, value in rule.items() if key not in changed} for rule in shorter
    ]
