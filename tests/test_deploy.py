"""What is shipped fits the gateway. Whether it fits Kubernetes, Istio and systemd, `make deploy-check` says."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from certificates import CA, Mount, issue, pem_of
from commands import Run, Start
from gateway import __version__
from gateway.server.health import SERVICES
from gateway.settings.durations import read_duration
from gateway.settings.load import CONFIG_VARIABLE
from gateway.settings.model import SECRETS, Settings
from gateway.settings.names import variable
from gateway.telemetry.loop_monitor import DEAD_AFTER

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
ISTIO = DEPLOY / "components" / "istio"

CREDENTIALS = b'access_key = "AK"\nsecret_key = "SK"\n'
# Seconds beside delay and grace, for what does not end when it is told to: docs/operations.md.
TO_LEAVE = 10


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def all_documents() -> Iterator[Any]:
    for folder in ("base", "components"):
        for path in sorted((DEPLOY / folder).rglob("*.yaml")):
            yield from (document for document in documents(path) if isinstance(document, dict))


def of_kind(kind: str) -> list[Any]:
    return [document for document in all_documents() if document["kind"] == kind]


def dotenv(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def directives(name: str) -> list[tuple[str, str]]:
    text = (DEPLOY / "systemd" / name).read_text(encoding="utf-8")
    return re.findall(r"(?m)^(\w+)=(.*)$", text)


def of_units(*names: str) -> dict[str, str]:
    """Return the settings that units give in their `Environment=`."""
    given = [value for name in names for key, value in directives(name) if key == "Environment"]
    pairs = (pair.split("=", 1) for value in given for pair in value.split())
    return {name: value for name, value in pairs if name.startswith("SWR_GATEWAY_")}


def of_image() -> dict[str, str]:
    return dict(re.findall(r"(SWR_GATEWAY_\w+)=(\S+)", DOCKERFILE))


DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
BASE = dotenv(DEPLOY / "base" / "settings.env")
MACHINE = dotenv(DEPLOY / "systemd" / "settings.env")
GIVEN = {
    "base": BASE,
    "istio": BASE | dotenv(ISTIO / "settings.env"),
    "systemd": MACHINE | of_units("swr-gateway.service"),
    "systemd, mutual TLS": MACHINE
    | of_units("swr-gateway.service", "tls.conf")
    | {"SWR_GATEWAY_LISTEN": "0.0.0.0:50051"},
    "image": of_image() | {"SWR_GATEWAY_REGION": "cn-north-4"},
}
[DEPLOYMENT] = documents(DEPLOY / "base" / "deployment.yaml")
POD = DEPLOYMENT["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]


@pytest.fixture
def mounted(tmp_path: Path) -> Mount:
    """What Kubernetes mounts and systemd hands over, all in one folder."""
    pair = issue("swr-gateway.swr-gateway.svc")
    files = {"tls.crt": pair.chain, "tls.key": pair.key, "ca.crt": pem_of(CA), "credentials.toml": CREDENTIALS}
    return Mount(tmp_path / "mounted", **files)


def on_this_machine(given: dict[str, str], mounted: Mount) -> dict[str, str]:
    """Return settings with their files where this machine has them."""
    return {
        name: str(mounted.path(Path(value).name)) if re.match("/|%d/", value) else value
        for name, value in given.items()
    }


@pytest.mark.parametrize("which", GIVEN)
async def test_the_gateway_accepts_the_settings(which: str, mounted: Mount, run: Run) -> None:
    ended = await run("check-config", **on_this_machine(GIVEN[which], mounted))
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize(("which", "kept_safe_by"), [("base", "TLS_CLIENT_CA"), ("istio", "ALLOW_INSECURE")])
async def test_what_keeps_callers_out_is_needed(which: str, kept_safe_by: str, mounted: Mount, run: Run) -> None:
    given = on_this_machine(GIVEN[which], mounted)
    del given[f"SWR_GATEWAY_{kept_safe_by}"]
    ended = await run("check-config", **given)
    assert ended.code == 2
    assert "whoever reaches 0.0.0.0:50051" in ended.err


def test_connections_have_an_age_only_where_no_mesh_balances_calls() -> None:
    assert BASE["SWR_GATEWAY_MAX_CONNECTION_AGE"] != "0s"
    assert GIVEN["istio"]["SWR_GATEWAY_MAX_CONNECTION_AGE"] == "0s"


def test_every_variable_is_a_setting() -> None:
    known = {*map(variable, Settings.model_fields), CONFIG_VARIABLE}
    suffixes = {".conf", ".env", ".md", ".service", ".sh", ".yaml"}
    shipped = (path.read_text(encoding="utf-8") for path in DEPLOY.rglob("*") if path.suffix in suffixes)
    texts = [DOCKERFILE, *shipped]
    named = {name for text in texts for name in re.findall(r"\bSWR_GATEWAY_[A-Z][A-Z_]*\b", text)}
    assert len(named) > 10
    assert named <= known


def test_the_chart_knows_all_settings_and_takes_no_secret() -> None:
    schema = json.loads((DEPLOY / "chart" / "values.schema.json").read_text(encoding="utf-8"))
    known = schema["properties"]["settings"]["propertyNames"]["enum"]
    assert known == sorted(name.upper() for name in Settings.model_fields.keys() - SECRETS)


def test_files_in_settings_come_from_mounted_secrets() -> None:
    secrets = {volume["name"] for volume in POD["volumes"] if "secret" in volume}
    folders = {mount["mountPath"] for mount in CONTAINER["volumeMounts"] if mount["name"] in secrets}
    files = [Path(value) for value in BASE.values() if value.startswith("/")]
    assert {str(path.parent) for path in files} == folders
    assert not any("subPath" in mount for mount in CONTAINER["volumeMounts"]), "a renewed certificate would not arrive"


def test_systemd_hands_over_what_settings_name() -> None:
    names = ("swr-gateway.service", "tls.conf")
    handed = {value.split(":")[0] for name in names for key, value in directives(name) if key == "LoadCredential"}
    named = {value.removeprefix("%d/") for value in of_units(*names).values()}
    assert handed == named


def drain_of(given: dict[str, str]) -> float:
    """Return the most that a drain takes."""
    return sum(read_duration(given[f"SWR_GATEWAY_DRAIN_{name}"]) for name in ("DELAY", "GRACE"))


def test_nobody_is_killed_while_draining() -> None:
    assert POD["terminationGracePeriodSeconds"] >= drain_of(BASE) + TO_LEAVE
    assert "lifecycle" not in CONTAINER, "a preStop hook takes from the same time"
    assert read_duration(dict(directives("swr-gateway.service"))["TimeoutStopSec"]) >= drain_of(MACHINE) + TO_LEAVE
    assert dict(directives("swr-gateway.service"))["KillMode"] == "mixed", "workers would drain all at once"


def test_systemd_is_told_what_its_unit_waits_for() -> None:
    unit = dict(directives("swr-gateway.service"))
    assert unit["Type"] == "notify"
    assert read_duration(unit["WatchdogSec"]) > DEAD_AFTER, "it would be ended before /livez tells"
    assert unit["LimitCORE"] == "0", "a core holds secrets"
    assert directives("notify-reload.conf") == [("Type", "notify-reload"), ("ExecReload", "")]


def test_the_sidecar_lives_as_long_as_the_drain() -> None:
    [patch] = documents(ISTIO / "deployment.yaml")
    proxy = yaml.safe_load(patch["spec"]["template"]["metadata"]["annotations"]["proxy.istio.io/config"])
    drains = read_duration(proxy["terminationDrainDuration"])
    assert drain_of(BASE) + TO_LEAVE <= drains < POD["terminationGracePeriodSeconds"]


def test_ports_are_those_listened_on() -> None:
    listened = {
        "grpc": int(BASE["SWR_GATEWAY_LISTEN"].rpartition(":")[2]),
        "admin": int(BASE["SWR_GATEWAY_ADMIN_LISTEN"].rpartition(":")[2]),
    }
    assert {port["name"]: port["containerPort"] for port in CONTAINER["ports"]} == listened
    for service in of_kind("Service"):
        for port in service.get("spec", {}).get("ports", ()):
            assert (port.get("targetPort", port["name"]), port["port"]) in listened.items()
    exposed = re.search(r"(?m)^EXPOSE (.+)$", DOCKERFILE)
    assert exposed is not None
    assert [int(port) for port in exposed[1].split()] == list(listened.values())
    assert {
        name: of_image()[name] for name in ("SWR_GATEWAY_LISTEN", "SWR_GATEWAY_ADMIN_LISTEN")
    }.items() <= BASE.items()
    [policy] = of_kind("AuthorizationPolicy")
    named = {port for rule in policy["spec"]["rules"] for to in rule["to"] for port in to["operation"]["ports"]}
    assert named == {str(port) for port in listened.values()}
    [authentication] = of_kind("PeerAuthentication")
    assert list(authentication["spec"]["portLevelMtls"]) == [str(listened["admin"])]


async def test_the_gateway_answers_probes_and_scrapes(start: Start) -> None:
    probes = [CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")]
    [monitor] = of_kind("ServiceMonitor")
    ends = [*probes, *monitor["spec"]["endpoints"]]
    assert {end["port"] for end in ends} == {"admin"}
    options = ("--upstream-url=http://127.0.0.1:9", "--auth=none", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0")
    gateway = await start("serve", *options)
    address = await gateway.logs(r"operators on (\S+)")
    for end in ends:
        assert await asyncio.to_thread(status_of, f"http://{address}{end['path']}") == 200


def status_of(url: str) -> int:
    with urllib.request.urlopen(url) as answer:
        return int(answer.status)


def test_everything_selects_the_pods() -> None:
    labels = DEPLOYMENT["spec"]["selector"]["matchLabels"]
    [kustomization] = documents(DEPLOY / "base" / "kustomization.yaml")
    assert kustomization["labels"] == [{"pairs": labels, "includeTemplates": True}]
    services = [service["spec"] for service in of_kind("Service") if "selector" in service.get("spec", {})]
    assert [spec["selector"] for spec in services] == [labels] * 3
    for kind in ("PodDisruptionBudget", "AuthorizationPolicy", "PeerAuthentication"):
        [document] = of_kind(kind)
        assert document["spec"]["selector"]["matchLabels"] == labels
    [policy] = of_kind("NetworkPolicy")
    assert policy["spec"]["podSelector"]["matchLabels"] == labels
    [scaler] = of_kind("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == DEPLOYMENT["metadata"]["name"]
    [monitor] = of_kind("ServiceMonitor")
    selected = [
        service["metadata"]["name"]
        for service in of_kind("Service")
        if (service["metadata"].get("labels", {}) | labels).items()
        >= monitor["spec"]["selector"]["matchLabels"].items()
    ]
    assert selected == ["swr-gateway-admin"]


def test_the_mesh_lets_in_what_the_gateway_serves() -> None:
    [policy] = of_kind("AuthorizationPolicy")
    [callers, everyone, _] = policy["spec"]["rules"]
    assert f"/{SERVICES[1]}/*" in callers["to"][0]["operation"]["paths"]
    assert callers["from"][0]["source"]["principals"] != ["*"]
    assert everyone["to"][0]["operation"]["paths"] == ["/grpc.health.v1.Health/*"]


def test_the_mesh_does_not_retry_what_the_gateway_has_retried() -> None:
    [service] = of_kind("VirtualService")
    for route in service["spec"]["http"]:
        assert route["retries"]["attempts"] <= 1
        assert set(route["retries"]["retryOn"].split(",")) <= {"connect-failure", "refused-stream"}
    [rule] = of_kind("DestinationRule")
    ejection = rule["spec"]["trafficPolicy"]["outlierDetection"]
    # A sick upstream speaks through every gateway.
    assert (ejection["consecutive5xxErrors"], ejection["consecutiveGatewayErrors"]) == (0, 0)


def test_the_pod_has_no_rights() -> None:
    assert (POD["automountServiceAccountToken"], POD["securityContext"]["runAsNonRoot"]) == (False, True)
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    user = POD["securityContext"]["runAsUser"]
    assert user > 0
    assert f"\nUSER {user}:{POD['securityContext']['runAsGroup']}\n" in DOCKERFILE


def test_the_certificate_is_for_the_services_and_renewed_before_anyone_is_woken() -> None:
    [certificate] = of_kind("Certificate")
    services = {service["metadata"]["name"] for service in of_kind("Service")} - {"swr-gateway-admin"}
    assert {name.split(".")[0] for name in certificate["spec"]["dnsNames"]} == services
    secrets = {volume["name"]: volume["secret"]["secretName"] for volume in POD["volumes"]}
    assert certificate["spec"]["secretName"] == secrets["tls"]
    # docs/alerts.md: SwrGatewayCertificateEnds
    assert read_duration(certificate["spec"]["renewBefore"]) > 14 * 86400


def test_a_route_leads_to_what_the_gateway_serves() -> None:
    [route] = of_kind("GRPCRoute")
    [rule] = route["spec"]["rules"]
    assert {match["method"]["service"] for match in rule["matches"]} == {SERVICES[1], "grpc.health.v1.Health"}
    [policy] = of_kind("BackendTLSPolicy")
    [certificate] = of_kind("Certificate")
    assert policy["spec"]["validation"]["hostname"] in certificate["spec"]["dnsNames"]


def test_the_image_is_the_version_and_starts_the_gateway() -> None:
    [kustomization] = documents(DEPLOY / "base" / "kustomization.yaml")
    assert kustomization["images"] == [{"name": CONTAINER["image"], "newTag": __version__}]
    [chart] = documents(DEPLOY / "chart" / "Chart.yaml")
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    instructions = dict(re.findall(r"(?m)^(ENTRYPOINT|CMD|STOPSIGNAL) (.+)$", DOCKERFILE))
    assert json.loads(instructions["ENTRYPOINT"]) + json.loads(instructions["CMD"]) == ["swr-gateway", "serve"]
    assert instructions["STOPSIGNAL"] == "SIGTERM"
