"""What kustomize makes of the base, overlays and components."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml

from deploy.check.tools import BIN, DEPLOY, TOOLS, run


def build(folder: Path) -> str:
    """Return the manifests of a folder."""
    return run(BIN / "kustomize", "build", folder)


def all_of_them() -> Iterator[tuple[str, Path]]:
    """Yield base, the overlays, and at last all components on one base."""
    for path in (DEPLOY / "base", *sorted((DEPLOY / "overlays").iterdir())):
        yield str(path.relative_to(DEPLOY.parent)), path
    yield "all components together", combined(*sorted((DEPLOY / "components").iterdir()))


def combined(*components: Path) -> Path:
    """Return a folder with the base and components."""
    folder = TOOLS / "components" / "-".join(path.name for path in components)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    kustomization = {
        "namespace": "swr-gateway",
        "resources": [os.path.relpath(DEPLOY / "base", folder)],
        "components": [os.path.relpath(path, folder) for path in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    return folder
