"""What operators see holds together: metrics, rules, dashboard and docs speak of the same names, labels and values."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import promql_parser
import pytest
import yaml
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from prometheus_client.parser import text_string_to_metric_families

from certificates import CA, Folder, issue, pem_of
from commands import starter
from failures import failure_of
from gateway.core import errors, status
from gateway.listing.attempts import ANSWERED, CUT_OFF
from gateway.server.gateway import Gateway
from gateway.settings.model import Settings
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from patience import PATIENT
from scripted_upstream import answer, page, scripted_upstream

ROOT = Path(__file__).parent.parent
GRAFANA = ROOT / "deploy" / "grafana"
ALERTS_PAGE = (ROOT / "docs" / "alerts.md").read_text()
METRICS_PAGE = (ROOT / "docs" / "metrics.md").read_text()
RULE_TESTS: list[dict[str, Any]] = [
    test
    for path in (ROOT / "deploy" / "prometheus" / "tests").glob("*.yaml")
    for test in yaml.safe_load(path.read_text())["tests"]
]
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "swr-gateway.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
GROUPS: dict[str, list[dict[str, Any]]] = {
    group["name"]: group["rules"]
    for group in yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yaml").read_text())["spec"]["groups"]
}
RULES = [rule for rules in GROUPS.values() for rule in rules]
ALERTS = [rule for rule in RULES if "alert" in rule]

# Labels that Prometheus puts on all that it scrapes.
OF_TARGETS = frozenset({"namespace", "job", "instance"})
# Series that Prometheus makes by itself: whether a target answers, and which alerts fire.
BY_PROMETHEUS = {"up": frozenset(), "ALERTS": frozenset({"alertname", "alertstate"})}

_REASONS = {
    cause.reason for room in (errors, status) for cause in vars(room).values() if isinstance(cause, errors.Cause)
}
# Values of labels beside those that were seen: other tests show what makes each of them.
POSSIBLE: dict[str, set[str]] = {
    "reason": _REASONS,
    "cause": _REASONS,
    "result": _REASONS | {ANSWERED, CUT_OFF, "error"},
    "grpc_status": {code.name for code in grpc.StatusCode},
    "http_response_status_code": {""},
}

LIST, STREAM = repos_pb2.ListReposRequest, repos_pb2.StreamReposRequest


# What gateways export


@dataclass
class Exported:
    """What was read at /metrics of several gateways.

    Attributes:
        types: Type by name, as the comments say.
        labels: Labels by name, with the ends of names that histograms have; `le` among them.
        values: Values by label.
    """

    types: dict[str, str] = field(default_factory=dict)
    labels: dict[str, frozenset[str]] = field(default_factory=dict)
    values: dict[str, set[str]] = field(default_factory=dict)

    def add(self, text: str) -> None:
        self.types |= dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = frozenset(sample.labels)
                assert self.labels.setdefault(sample.name, labels) == labels, sample
                for label, value in sample.labels.items():
                    self.values.setdefault(label, set()).add(value)

    @property
    def ours(self) -> dict[str, tuple[str, frozenset[str]]]:
        """Type and labels by name, but for those of the process."""
        return {
            name: (kind, self.labels[f"{name}_sum" if kind == "histogram" else name])
            for name, kind in self.types.items()
            if not name.startswith("process_")
        }


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Read two gateways, between them all there is to see, after all that can happen to calls has happened to some."""
    pages = asyncio.run(_pages_of(tmp_path_factory.mktemp("tls") / "files"))
    exported = Exported()
    for text in pages:
        exported.add(text)
    return exported


async def _pages_of(files: Path) -> tuple[str, str]:
    return await _page_of_one(files), await _page_of_workers()


async def _page_of_one(files: Path) -> str:
    server = issue("localhost", "127.0.0.1")
    folder = Folder(files, certificate=server.chain, key=server.key)
    body = json.dumps({"token": {"issued_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-02T00:00:00Z"}})
    async with scripted_upstream() as upstream, scripted_upstream() as iam:
        iam.play(answer(201, body, {"X-Subject-Token": "token"}))
        upstream.play(answer(503), page("[]"))
        settings = Settings(
            upstream_url=upstream.url,
            auth="iam",
            iam_url=iam.url,
            iam_username="u",
            iam_password="p",
            iam_domain="d",
            iam_project="p",
            cache_ttl="1h",
            tls_cert=folder.path("certificate"),
            tls_key=folder.path("key"),
            listen="127.0.0.1:0",
            admin_listen="127.0.0.1:0",
            drain_grace="100ms",
            **PATIENT,
        )
        credentials = grpc.ssl_channel_credentials(pem_of(CA))
        async with Gateway(settings) as gateway, grpc.aio.secure_channel(gateway.addresses[0], credentials) as channel:
            stub: Any = RepoServiceStub(channel)
            await stub.ListRepos(LIST())  # sent twice
            await stub.ListRepos(LIST())  # remembered
            await failure_of(stub.ListRepos(LIST(limit=1)))
            assert [message async for message in stub.StreamRepos(STREAM())]
            health: Any = HealthStub(channel)
            await health.Check(health_pb2.HealthCheckRequest())
            return await _metrics(gateway.admin_address)


async def _page_of_workers() -> str:
    async with scripted_upstream() as upstream, starter() as start:
        command = await start(
            *("serve", "--upstream-url", upstream.url, "--auth", "none", "--listen", "127.0.0.1:0", "--workers", "2"),
            SWR_GATEWAY_ADMIN_LISTEN="127.0.0.1:0",
        )
        return await _metrics(await command.logs(r"operators on ([^\s,]+)"))


async def _metrics(address: str | None) -> str:
    def ask() -> str:
        with urllib.request.urlopen(f"http://{address}/metrics") as response:
            return str(response.read().decode())

    return await asyncio.to_thread(ask)


def test_every_metric_is_seen_with_its_labels(exported: Exported) -> None:
    kinds = exported.types.items()
    assert [name for name, kind in kinds if {name, f"{name}_sum"}.isdisjoint(exported.labels)] == [], kinds


# Queries


@dataclass
class Reader:
    """Reads queries, and writes down what is wrong with them."""

    exported: Exported
    recorded: dict[str, frozenset[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def labels_of(self, query: str, place: str) -> frozenset[str]:
        """Return the labels that a query's results can have."""
        try:
            parsed = promql_parser.parse(query)
        except ValueError as error:
            self.problems.append(f"{place}: {error}: {query}")
            return frozenset()
        return self._read(parsed, place)

    def expect(self, labels: Iterator[str] | list[str], known: frozenset[str], place: str) -> None:
        self.problems += [f"{place}: no label {label!r} in {sorted(known)}" for label in labels if label not in known]

    def _read(self, node: Any, place: str) -> frozenset[str]:
        match node:
            case promql_parser.VectorSelector():
                return self._select(node, place)
            case promql_parser.MatrixSelector():
                return self._select(node.vector_selector, place)
            case promql_parser.AggregateExpr():
                inner = self._read(node.expr, place)
                wanted = node.modifier.labels if node.modifier else []
                self.expect(wanted, inner, place)
                return frozenset(wanted)
            case promql_parser.BinaryExpr():
                sides = self._read(node.lhs, place) | self._read(node.rhs, place)
                if node.modifier and node.modifier.matching:
                    self.expect(node.modifier.matching.labels, sides, place)
                return sides
            case promql_parser.Call():
                return frozenset().union(*(self._read(argument, place) for argument in node.args))
            case promql_parser.SubqueryExpr() | promql_parser.ParenExpr() | promql_parser.UnaryExpr():
                return self._read(node.expr, place)
            case _:
                return frozenset()

    def _select(self, selector: promql_parser.VectorSelector, place: str) -> frozenset[str]:
        sources: dict[str, frozenset[str]] = {**self.exported.labels, **BY_PROMETHEUS, **self.recorded}
        name = selector.name or ""
        if name not in sources:
            self.problems.append(f"{place}: no metric {name!r}")
        labels = sources.get(name, frozenset()) | OF_TARGETS
        for matcher in selector.matchers.matchers:
            self.expect([matcher.name], labels, place)
            if matcher.name not in OF_TARGETS and name not in BY_PROMETHEUS:
                self._match(matcher, place)
        return labels

    def _match(self, matcher: promql_parser.Matcher, place: str) -> None:
        """A value that nothing has is a misspelt one."""
        known = self.exported.values.get(matcher.name, set()) | POSSIBLE.get(matcher.name, set())
        plain = matcher.op in (promql_parser.MatchOp.Equal, promql_parser.MatchOp.NotEqual)
        for value in [matcher.value] if plain else matcher.value.split("|"):
            pattern = re.escape(value) if plain else value
            if not any(re.fullmatch(pattern, one) for one in known):
                self.problems.append(f"{place}: {matcher.name} is never {value!r}")


@pytest.fixture
def reader(exported: Exported) -> Reader:
    """A reader that knows the rules; those are in the order in which they need each other."""
    reader = Reader(exported)
    for rule in RULES:
        labels = reader.labels_of(rule["expr"], rule.get("record") or rule["alert"])
        if "record" in rule:
            reader.recorded[rule["record"]] = labels
        for text in rule.get("annotations", {}).values():
            reader.expect(re.findall(r"\$labels\.(\w+)", text), labels, rule["alert"])
    return reader


def test_rules_ask_for_what_there_is(reader: Reader) -> None:
    assert reader.problems == []


def test_the_dashboard_asks_for_what_there_is(reader: Reader) -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            legend = re.findall(r"{{\s*(\w+)\s*}}", target["legendFormat"])
            reader.expect(legend, reader.labels_of(_filled_in(target["expr"]), panel["title"]), panel["title"])
    for note in DASHBOARD["annotations"]["list"]:
        legend = re.findall(r"{{\s*(\w+)\s*}}", note["titleFormat"])
        reader.expect(legend, reader.labels_of(_filled_in(note["expr"]), note["name"]), note["name"])
    for variable in DASHBOARD["templating"]["list"][1:]:
        found = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
        assert found, variable
        reader.expect([found[2]], reader.labels_of(found[1], variable["name"]), variable["name"])
    assert reader.problems == []


def _filled_in(query: str) -> str:
    """Grafana's own durations; its other variables stand in quotes."""
    return query.replace("$__rate_interval", "5m").replace("$__range", "3h")


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("swr_gateway_rows", "no metric"),
        ('swr_gateway_rows_total{reason="x"}', "no label 'reason'"),
        ("sum by (what) (swr_gateway_rows_total)", "no label 'what'"),
        ("up and on (what) swr_gateway_rows_total", "no label 'what'"),
        ('swr_gateway_call_failures_total{reason=~"GATEWAY_OVERLOADED|GATEWAY_OVERLODED"}', "'GATEWAY_OVERLODED'"),
        ('grpc_server_call_duration_seconds_bucket{le="1"}', "le is never '1'"),
        ("sum(swr_gateway_rows_total", "parenthesis"),
    ],
)
def test_a_misspelt_query_is_found(exported: Exported, query: str, problem: str) -> None:
    reader = Reader(exported)
    reader.labels_of(query, "here")
    assert problem in "".join(reader.problems)


# Rules


def test_rules_of_different_windows_differ_in_nothing_else() -> None:
    windows: dict[str, set[str]] = {}
    texts: dict[str, set[str]] = {}
    for rule in GROUPS["swr-gateway.slo"]:
        name, _, window = rule["record"].rpartition(":rate")
        windows.setdefault(name, set()).add(window)
        text = rule["expr"].replace(f"[{window}]", "[WINDOW]").replace(f":rate{window}\n", ":rateWINDOW\n")
        texts.setdefault(name, set()).add(text)
    assert [name for name, known in texts.items() if len(known) != 1] == [], texts
    assert {name: known for name, known in windows.items() if known != {"5m", "30m", "1h", "6h", "3d"}} == {}


def test_every_alert_says_what_to_do() -> None:
    for alert in ALERTS:
        assert alert["labels"]["severity"] in {"warning", "critical"}
        assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert alert["annotations"]["runbook_url"] == f"docs/alerts.md#{alert['alert'].lower()}"


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    sections = re.findall(r"^## (SwrGateway\w+)$", ALERTS_PAGE, re.MULTILINE)
    assert sections == list(dict.fromkeys(alert["alert"] for alert in ALERTS))


def test_every_section_tells_the_severity() -> None:
    for section in re.split(r"^## ", ALERTS_PAGE, flags=re.MULTILINE)[1:]:
        name, _, text = section.partition("\n")
        severities = sorted({alert["labels"]["severity"] for alert in ALERTS if alert["alert"] == name})
        if severities:
            assert sorted(re.findall(r"`(warning|critical)`", text.strip().partition("\n")[0])) == severities, name


def test_every_alert_is_seen_firing_in_a_test() -> None:
    fires = {
        name
        for test in RULE_TESTS
        for one in test.get("promql_expr_test", ())
        for sample in one.get("exp_samples", ())
        for name in re.findall(r'alertname="(\w+)"', sample["labels"])
    } | {one["alertname"] for test in RULE_TESTS for one in test.get("alert_rule_test", ()) if one.get("exp_alerts")}
    assert fires == {alert["alert"] for alert in ALERTS}


# Dashboard


def test_the_dashboard_is_fresh() -> None:
    command = [sys.executable, "-m", "deploy.grafana.dashboard"]
    written = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    assert (GRAFANA / "swr-gateway.json").read_bytes() == written.stdout


def test_every_panel_explains_itself() -> None:
    for panel in PANELS:
        assert len(panel["description"]) > 40, panel["title"]
        assert panel["fieldConfig"]["defaults"].get("unit") or panel["type"] in {"heatmap", "state-timeline"}, panel
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_titles_and_numbers_of_panels_are_their_own() -> None:
    for key in ("title", "id"):
        assert [one for one, count in Counter(panel[key] for panel in DASHBOARD["panels"]).items() if count > 1] == []


def test_no_panel_covers_another() -> None:
    places = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(places) == len(set(places))
    assert {x for x, _ in places} <= set(range(24))


def test_panels_that_are_pointed_at_are_there() -> None:
    titles = {panel["title"] for panel in DASHBOARD["panels"]}
    texts = [METRICS_PAGE, ALERTS_PAGE, *(panel["description"] for panel in PANELS)]
    named = {title for text in texts for title in re.findall(r"(?<!\*)\*([A-Z][^*\n]+)\*(?!\*)", text)}
    assert named - titles == set()
    (drawn,) = re.findall(r"^    class ([A-Z,]+) panel$", METRICS_PAGE, re.MULTILINE)
    nodes = dict(re.findall(r'\b([A-Z])[\[{]"([^"]+)"', METRICS_PAGE))
    assert {title for node in drawn.split(",") for title in nodes[node].split("<br/>")} - titles == set()


# Docs


def test_every_metric_is_documented_and_every_documented_one_there(exported: Exported) -> None:
    table = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", METRICS_PAGE, re.MULTILINE)
    documented = {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in table}
    assert documented == exported.ours


def test_queries_in_the_docs_ask_for_what_there_is(reader: Reader) -> None:
    queries = re.findall(r"```promql\n(.*?)```", METRICS_PAGE + ALERTS_PAGE, re.DOTALL)
    assert queries
    for query in queries:
        reader.labels_of(query, "docs")
    assert reader.problems == []
