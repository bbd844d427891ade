"""JSON schemas for kubeconform: of Kubernetes, and of the kinds that Istio, cert-manager and the Gateway API define."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from deploy.check.tools import DEPLOY, TOOLS, WrongError, run

KUBERNETES = "v1.37.0"
ISTIO = "istio.io/api"
# Go modules of types/go.mod that hold definitions of kinds, and where.
DEFINITIONS = {
    ISTIO: "kubernetes/customresourcedefinitions.gen.yaml",
    "github.com/cert-manager/cert-manager": "deploy/crds/cert-manager.io_certificates.yaml",
    "sigs.k8s.io/gateway-api": "config/crd/standard/*_*s.yaml",
}


def make_schemas() -> Path:
    """Write them into a folder, under the names that kubeconform looks for, and return it."""
    folder = TOOLS / "schemas"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in _kubernetes().glob("*.json"):
        (folder / path.name).write_text(_local(path.read_text(encoding="utf-8")), encoding="utf-8")
    for name, schema in _defined().items():
        (folder / name).write_text(json.dumps(schema), encoding="utf-8")
    return folder


def versions() -> str:
    """Return whose definitions are taken, and of which version."""
    found = ", ".join(f"{module} {_of_module(module, 'Version')}" for module in DEFINITIONS)
    return f"Kubernetes {KUBERNETES}, {found}"


def _of_module(module: str, what: str) -> str:
    """Return the version of a module, or its folder; it is downloaded where nothing that was built needed it."""
    found: dict[str, str] = json.loads(run("go", "mod", "download", "-json", module, folder=DEPLOY / "check" / "types"))
    return found[what]


def _kubernetes() -> Path:
    """The package kubernetes-validate holds them; of the package itself nothing is needed."""
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:
        raise WrongError("kubernetes-validate is not installed: make deploy-check")
    return Path(spec.origin).parent / "kubernetes-json-schema" / f"{KUBERNETES}-local-strict"


def _local(text: str) -> str:
    """References lead to a web server as they are; kubeconform wants files beside one another."""
    schema = json.loads(text)
    schema.pop("$id", None)
    return re.sub(r'"/api/(_definitions\.json)', r'"\1', json.dumps(schema))


def _defined() -> dict[str, Any]:
    files = [path for module, pattern in DEFINITIONS.items() for path in Path(_of_module(module, "Dir")).glob(pattern)]
    documents = [one for path in files for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
    schemas = {}
    for definition in documents:
        if definition is None or definition["kind"] != "CustomResourceDefinition":
            continue
        spec = definition["spec"]
        kind, group = spec["names"]["kind"].lower(), spec["group"].partition(".")[0]
        for version in spec["versions"]:
            schemas[f"{kind}-{group}-{version['name']}.json"] = _closed(version["schema"]["openAPIV3Schema"])
    return schemas


def _closed(schema: Any) -> Any:
    """Refuse fields that a schema does not name. A cluster drops them without a word."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(part) for name, part in schema.items()}
    is_object = closed.get("type") == "object" and "properties" in closed
    if is_object and not closed.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    # Of every object the cluster itself knows these.
    if is_object and {"spec", "status"} <= closed["properties"].keys():
        closed["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
    return closed
