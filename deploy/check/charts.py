"""The chart: what it renders fits the schemas, and is what kustomize makes of base and components."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import yaml

from deploy.check.kustomizations import build, combined
from deploy.check.tools import BIN, DEPLOY, WrongError, refusal, run
from deploy.check.validation import conforms

CHART = DEPLOY / "chart"
NAME = "swr-gateway"

Json: TypeAlias = dict[str, Any]
# Release, namespace, values: to manifests.
Render: TypeAlias = Callable[[str, str, str], str]

# Of each component that the chart has too, the values that ask for it. In a mesh it is kustomize's.
AS_COMPONENTS: dict[str, Json] = {
    "prometheus": {"prometheus": {"enabled": True}},
    "cert-manager": {"certificate": {"enabled": True}},
    "gateway-api": {"gatewayApi": {"enabled": True}},
    "scale-on-load": {"autoscaling": {"upstreamInFlight": 60}},
}
# All that can be given, in another namespace.
EVERYTHING: Json = {
    **{key: value for values in AS_COMPONENTS.values() for key, value in values.items()},
    "image": {"digest": "sha256:" + 64 * "0", "pullSecrets": [{"name": "registry"}]},
    "settings": {"AUTH": "passthrough", "RETRIES": 3, "COALESCE": False, "DRAIN_DELAY": None},
    "env": {"OTEL_TRACES_EXPORTER": "otlp"},
    "credentials": {"secretName": ""},
    "serviceAccount": {"annotations": {"a": "b"}},
    "podAnnotations": {"a": "b"},
    "podLabels": {"a": "b"},
    "nodeSelector": {"a": "b"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "networkPolicy": {"egress": [{"ports": [{"port": 4317}]}]},
}
# Labels by which Helm knows its own, and what takes the place of a hash in a name.
OF_HELM = {"app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"}
CHECKSUM = "checksum/settings"


def by_library(release: str, namespace: str, values: str) -> str:
    """Render the chart with Helm's packages."""
    return run(BIN / "chart", CHART, release, namespace, text=values)


def check_chart(render: Render = by_library) -> Iterator[str]:
    """Compare the chart with kustomize, check what it renders, and misspell values."""
    same = _compare("deploy/base", build(DEPLOY / "base"), render(NAME, NAME, ""))
    yield f"the chart renders deploy/base, {same} objects"
    for component, values in AS_COMPONENTS.items():
        made = build(combined(DEPLOY / "components" / component))
        same = _compare(component, made, render(NAME, NAME, yaml.safe_dump(values)))
        yield f"the chart renders deploy/base with the component {component}, {same} objects"
    same = _compare("the values of its README", build(DEPLOY / "overlays" / "example"), render(NAME, NAME, in_readme()))
    yield f"the chart renders deploy/overlays/example by the values of its README, {same} objects"

    rendered = render("other", "elsewhere", yaml.safe_dump(EVERYTHING))
    conforms(rendered)
    _look(rendered)
    yield "kubeconform -strict, Go types: the chart with all values that it has, in another namespace"
    yield f"values.schema.json refuses misspelt values, secrets and numbers that Helm spells otherwise: {_misspell()}"


def in_readme() -> str:
    """Return the values that the chart's README shows."""
    [block] = re.findall(r"(?ms)^```yaml\n(.*?)^```", (CHART / "README.md").read_text(encoding="utf-8"))
    return str(block)


def _compare(what: str, made: str, rendered: str) -> int:
    ours, theirs = _normal(made), _normal(rendered)
    different = [
        f"{name}:\n  kustomize {ours.get(name)}\n  helm      {theirs.get(name)}"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    ]
    if different:
        raise WrongError(f"the chart differs from {what}:\n" + "\n".join(different))
    conforms(rendered)
    return len(ours)


def _normal(text: str) -> dict[str, Json]:
    """Return manifests by kind and name, without what only one of the two can have.

    That is the namespace itself, Helm's own labels, and how changed settings roll the pods: a hash in the ConfigMap's
    name, or an annotation.
    """
    text = re.sub(rf"\b({NAME}-settings)-[0-9a-z]{{10}}\b", r"\1", text)
    found: dict[str, Json] = {}
    for document in yaml.safe_load_all(text):
        if document is None or document["kind"] == "Namespace":
            continue
        document["metadata"]["labels"] = {
            key: value
            for key, value in document["metadata"].get("labels", {}).items()
            if key != "app.kubernetes.io/name"
        }
        found[f"{document['kind']} {document['metadata']['name']}"] = _without(document, {*OF_HELM, CHECKSUM})
    return found


def _without(value: Any, keys: set[str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _without(inner, keys) for key, inner in value.items() if key not in keys}
    return [_without(inner, keys) for inner in value] if isinstance(value, list) else value


def _look(rendered: str) -> None:
    """All objects bear the release's name and namespace, and nothing names another's."""
    for document in yaml.safe_load_all(rendered):
        metadata = document["metadata"]
        if not metadata["name"].startswith("other-swr-gateway") or metadata["namespace"] != "elsewhere":
            raise WrongError(f"{document['kind']}: {metadata}")
    if leftover := re.search(r"swr-gateway\.swr-gateway\S*", rendered):
        raise WrongError(f"another namespace is named: {leftover[0]}")


def _misspell() -> str:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    wrong: dict[str, Json] = {f"{name}x": {f"{name}x": value} for name, value in values.items()}
    for name, inner in values.items():
        free = name in {"settings", "resources"} or not isinstance(inner, dict)
        wrong |= {} if free else {f"{key}x": {name: {f"{key}x": value}} for key, value in inner.items()}
    wrong |= {"RETRYS": {"settings": {"RETRYS": 3}}, "SECRET_KEY": {"settings": {"SECRET_KEY": "s"}}}
    wrong["MAX_QUEUE"] = {"settings": {"MAX_QUEUE": 1_000_000}}
    wrong["SWR_GATEWAY_RETRIES"] = {"env": {"SWR_GATEWAY_RETRIES": "3"}}
    for name, bad in wrong.items():
        output = refusal(BIN / "chart", CHART, NAME, NAME, text=yaml.safe_dump(bad))
        if name not in output:
            raise WrongError(f"refused, but not for {name}:\n{output}")
    return str(len(wrong))
