"""What `make bench-peers` makes of its measurements: ratios, tables, and a page that shows all its plots."""

from __future__ import annotations

import re
from string import Template

import pytest

from benchmarks.peers.envoy import descriptors
from benchmarks.peers.figures import Spread, added, share_of_bound, spread, throughput
from benchmarks.peers.growth import QUESTIONS
from benchmarks.peers.load import Load, Measured
from benchmarks.peers.page import TEMPLATE
from benchmarks.peers.plots import NAMES, plots
from benchmarks.peers.profile import owners, shares_table
from benchmarks.peers.reference import differences, reply
from benchmarks.peers.rounds import LATENCY, SATURATED, Comparison
from benchmarks.peers.systems import CLIENT, COLD, ECHO, GOHAND, WARM, systems
from benchmarks.peers.tables import remarks, tables

LOADS = tuple(dict.fromkeys((*SATURATED, *LATENCY)))
TEN = Load()
PAGE = '[{"name": "nginx", "updated_at": "2017-09-11T03:00:02.542841141Z", "tags": ["latest"], "total_range": 7}]'


def measured(calls: int, *, cpu: float = 0.5, core: float = 0.5, load: float = 0.5, failed: int = 0) -> Measured:
    """Return what one second had."""
    return Measured(1.0, calls, {"14": failed} if failed else {}, 1 / calls, 2 / calls, cpu, [core, load])


def comparison(**rates: tuple[int, ...]) -> Comparison:
    """Return systems that answer so many calls a second in each round, whatever they are asked."""
    named = {name.replace("_", " "): rounds for name, rounds in rates.items()}
    results = {name: {load: [measured(calls) for calls in rounds] for load in LOADS} for name, rounds in named.items()}
    jobs = dict.fromkeys(named, "all")
    return Comparison(results, jobs, dict.fromkeys(named, 0.5), dict.fromkeys(named, 60.0))


ALL = comparison(
    gateway=(50, 40, 60), gateway_cold=(25, 25, 25), gohand=(100, 100, 50), echo=(80, 80, 80), client=(200, 100, 100)
)


def cells(table: str, name: str) -> list[str]:
    """Return the cells of a system's row, without its name."""
    (row,) = (line for line in table.splitlines() if line.startswith(f"| {name} |"))
    return row[2:-2].split(" | ")[1:]


def test_a_spread_is_the_median_and_the_range() -> None:
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert spread([3.0, 1.0, 2.0]).text(1) == "2.0 (1.0 to 3.0)"


def test_ratios_are_those_of_the_same_round() -> None:
    """The third round was bad for gohand: the ratio of the medians would be 0.5."""
    assert throughput(ALL.results, WARM, TEN) == Spread(0.5, 0.4, 1.2)


def test_differences_are_those_of_the_same_round() -> None:
    assert added(ALL.results, WARM, TEN) == Spread(1 / 50 - 1 / 100, 1 / 60 - 1 / 50, 1 / 40 - 1 / 100)


def test_the_share_of_the_bound_goes_by_cpu() -> None:
    """In the third round an echo and a client cost 1/80 and 1/100 of half a second, and a call to the gateway 1/60."""
    assert share_of_bound(ALL.results, WARM, TEN).high == pytest.approx((1 / 80 + 1 / 100) * 60)


def test_targets_stand_beside_what_was_reached() -> None:
    made = tables(ALL, {})
    assert cells(made["throughput"], WARM) == ["all"] + [f"0.50 (0.40 to 1.20), target {n}" for n in (0.38, 1.6, 5.5)]
    assert cells(made["throughput"], COLD)[1:3] == ["0.25 (0.25 to 0.50)", "0.25 (0.25 to 0.50), target 1.0"]
    assert cells(made["latency"], WARM)[-1] == "+10.00 (-3.33 to +15.00), target +0.40"
    assert cells(made["cpu"], GOHAND) == ["5000 (5000 to 10000)"] * len(SATURATED) + [""]
    assert cells(made["idle"], ECHO) == ["60", "0.50"]
    assert made["remarks"] == "None."


def test_doubtful_figures_are_remarked_on() -> None:
    rounds = [measured(10), measured(10, core=0.75), measured(10, load=0.97), measured(10, failed=3)]
    found = Comparison({GOHAND: {TEN: rounds}}, {}, {}, {})
    assert list(remarks(found, {"waiters": {WARM: {1: [measured(10)], 1000: [measured(10, core=1)]}}})) == [
        (
            "- gohand, 10 rows, 64 in flight: others used up to 25% of its core in 1 of 4 rounds; "
            "the core of the load was full in 1 of 4; calls failed: {'14': 3}"
        ),
        "- growth, gateway, waiters 1000: others used up to 50% of its core in 1 of 1 rounds",
    ]


def test_the_page_has_a_place_for_all_that_is_made_and_shows_every_plot() -> None:
    template = TEMPLATE.read_text()
    assert set(Template(template).get_identifiers()) == {*tables(ALL, {}), "profile", "gohand", "method"}
    assert re.findall(r"\]\(performance/([\w-]+)\.svg\)", template) == list(NAMES)
    growth = {
        question.name: {name: {count: [measured(5)] for count in question.counts} for name in question.flags}
        for question in QUESTIONS
    }
    assert [plot.name for plot in plots(ALL, growth)] == list(NAMES)


def test_every_system_says_what_it_does() -> None:
    assert {WARM, COLD, GOHAND, ECHO, CLIENT} < {system.name for system in systems(None)}
    assert all(system.job for system in systems(None))


def test_a_reply_is_verified_to_the_nanosecond() -> None:
    wanted, got = reply(PAGE, "0-1/7"), reply(PAGE, "0-1/7")
    assert list(differences(wanted, got)) == []
    got.repos[0].updated_at.nanos += 1
    got.repos[0].tags.append("log")
    got.content_range.total = 8
    assert list(differences(wanted, got)) == [
        "repos[0].updated_at.nanos is 542841142 and not 542841141",
        "repos[0].tags is ['latest', 'log'] and not ['latest']",
        "content_range.total is 8 and not 7",
    ]
    got.ClearField("content_range")
    got.ClearField("repos")
    assert list(differences(wanted, got))[:2] == ["repos are 0 and not 1", "content_range is set on one side only"]


def test_envoy_gets_the_protocol_with_the_words_of_the_upstream() -> None:
    (ours,) = (file for file in descriptors().file if file.name.endswith("repos.proto"))
    assert [value.name for value in ours.enum_type[0].value] == ["unset", "self", "thirdparty"]
    assert "google/api/annotations.proto" in ours.dependency


def test_a_load_is_spread_over_connections_that_bear_it() -> None:
    flags = list(Load(in_flight=10_000, rows=5000, bursts=True).flags())
    assert flags[flags.index("-connections") + 1] == "20"
    assert flags[-3:] == ["-namespace", "rows-5000", "-bursts"]


def test_time_belongs_to_the_package_where_a_stack_ends() -> None:
    stacks = (
        "run (gateway/__main__.py:14);call (aiohttp/client.py:900) 6",
        "run (gateway/__main__.py:14);call (aiohttp/client.py:900);convert (gateway/core/convert.py:76) 3",
        "run (yarl.py:88) 0",
        " 1",
    )
    assert owners(stacks) == {"aiohttp": 0.6, "gateway/core": 0.3, "unknown": 0.1, "yarl": 0}


def test_owners_with_next_to_nothing_are_the_rest() -> None:
    cold = {"aiohttp": 0.5, "asyncio": 0.48, "yarl": 0.01, "typing": 0.01}
    assert shares_table({"cold": cold, "warm": {"asyncio": 0.6, "aiohttp": 0.4}}).splitlines() == [
        "| where | cold | warm |",
        "| --- | --- | --- |",
        "| asyncio | 48% | 60% |",
        "| aiohttp | 50% | 40% |",
        "| the rest | 2% | 0% |",
    ]
