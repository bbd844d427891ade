"""What kustomize makes of base, overlays and components, against schemas and types."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import yaml

from deploy.check.kustomizations import all_of_them, build
from deploy.check.schemas import versions
from deploy.check.tools import BIN, DEPLOY, DEPLOY_VENV, WrongError, refusal, run
from deploy.check.validation import ONLY_TYPES, conforms, kubeconform

# One field of each kind, to be misspelt.
FIELDS = {
    "AuthorizationPolicy": "spec.rules.0.to.0.operation.paths",
    "BackendTLSPolicy": "spec.validation.hostname",
    "Certificate": "spec.issuerRef.kind",
    "ConfigMap": "data",
    "Deployment": "spec.template.spec.containers.0.securityContext.readOnlyRootFilesystem",
    "DestinationRule": "spec.trafficPolicy.outlierDetection.maxEjectionPercent",
    "GRPCRoute": "spec.rules.0.backendRefs",
    "HorizontalPodAutoscaler": "spec.behavior.scaleDown.stabilizationWindowSeconds",
    "Namespace": "metadata.labels",
    "NetworkPolicy": "spec.ingress.0.from.0.namespaceSelector",
    "PeerAuthentication": "spec.portLevelMtls",
    "PodDisruptionBudget": "spec.maxUnavailable",
    "PrometheusRule": "spec.groups.0.rules.0.expr",
    "Service": "spec.ports.0.targetPort",
    "ServiceAccount": "automountServiceAccountToken",
    "ServiceMonitor": "spec.endpoints.0.interval",
    "VirtualService": "spec.http.0.retries.retryOn",
}


def check_manifests() -> Iterator[str]:
    """Lint, build and check all manifests, and misspell a field of each kind."""
    run(DEPLOY_VENV / "yamllint", "--strict", "--config-file", DEPLOY / "check" / "yamllint.yaml", DEPLOY)
    yield "yamllint: all YAML files"

    documents: list[Any] = []
    for name, folder in all_of_them():
        rendered = build(folder)
        documents = [document for document in yaml.safe_load_all(rendered) if document]
        conforms(rendered)
        yield f"kustomize, kubeconform -strict, Go types: {name}, {len(documents)} objects"

    kinds = {document["kind"]: document for document in documents}
    if unproven := kinds.keys() ^ FIELDS.keys():
        raise WrongError(f"manifests.FIELDS and what is shipped differ: {', '.join(sorted(unproven))}")
    for kind, field in FIELDS.items():
        _prove(kinds[kind], field)
    yield f"a misspelt field of each kind is found, and one in a wrong case ({versions()}): {', '.join(sorted(kinds))}"


def _prove(document: Any, field: str) -> None:
    kind = document["kind"]
    name = field.rpartition(".")[2]
    # The second is what readers of JSON that do not mind the case of letters let pass.
    for wrong in (f"{name}x", name[0].upper() + name[1:]):
        text = yaml.safe_dump(_renamed(document, field, wrong))
        if kind not in ONLY_TYPES:
            _expect(wrong, refusal(*kubeconform(), text=text), kind)
        if "istio.io" in document["apiVersion"] or kind in ONLY_TYPES:
            _expect(wrong, refusal(BIN / "types", text=text), kind)


def _renamed(document: Any, field: str, name: str) -> Any:
    """Return a copy of a document in which one field is called otherwise."""
    changed = copy.deepcopy(document)
    *path, last = field.split(".")
    place = changed
    for step in path:
        place = place[int(step) if step.isdecimal() else step]
    place[name] = place.pop(last)
    return changed


def _expect(wrong: str, output: str, kind: str) -> None:
    """The refusal must be for the field, not for something else."""
    if wrong not in output:
        raise WrongError(f"{kind}: refused, but not for {wrong}:\n{output}")
