"""Manifests against schemas and types."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from deploy.check.schemas import make_schemas
from deploy.check.tools import BIN, run

# Kinds whose definitions are published as Go types only.
ONLY_TYPES = ("PrometheusRule", "ServiceMonitor")


@cache
def kubeconform() -> tuple[str | Path, ...]:
    """Return the command that holds manifests against schemas."""
    schemas = f"{make_schemas()}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    return (BIN / "kubeconform", "-strict", "-skip", ",".join(ONLY_TYPES), "-schema-location", schemas)


def conforms(manifests: str) -> None:
    """Check manifests.

    Raises:
        WrongError: They have fields that their kinds do not, or wrong values.
    """
    run(*kubeconform(), text=manifests)
    run(BIN / "types", text=manifests)
