"""The configurations of Envoy, read by Envoy."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from deploy.check.tools import DEPLOY, VENV, WrongError, refusal, run

ENVOY = (VENV / "envoy", "--mode", "validate", "--log-level", "error", "-c")


def check_envoy() -> Iterator[str]:
    """Let Envoy read each configuration, and the secrets that they name, and misspell a field of each."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "envoy"
        shutil.copytree(DEPLOY / "envoy", work)
        _make_certificates(work / "tls")
        for path in sorted(work.glob("*.yaml")):
            run(*ENVOY, path.name, folder=work)
            config = yaml.safe_load(path.read_text(encoding="utf-8"))
            cluster = config["static_resources"]["clusters"][0]
            _prove(cluster, "load_assignment", config, work)
            yield f"envoy --mode validate: deploy/envoy/{path.name}; a misspelt field is found"
        for path in sorted(work.glob("sds/*.yaml")):
            # Envoy reads these later than it validates, so they are shown to it as part of a configuration.
            secrets = yaml.safe_load(path.read_text(encoding="utf-8"))["resources"]
            for secret in secrets:
                del secret["@type"]
            config = {"static_resources": {"secrets": secrets}}
            _write(config, work)
            run(*ENVOY, "check.yaml", folder=work)
            _prove(secrets[0], "name", config, work)
            yield f"envoy --mode validate: deploy/envoy/sds/{path.name}; a misspelt field is found"


def _prove(place: Any, name: str, config: Any, work: Path) -> None:
    wrong = f"{name}x"
    place[wrong] = place.pop(name)
    _write(config, work)
    if wrong not in (output := refusal(*ENVOY, "check.yaml", folder=work)):
        raise WrongError(f"refused, but not for {wrong}:\n{output}")


def _write(config: Any, work: Path) -> None:
    (work / "check.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def _make_certificates(folder: Path) -> None:
    folder.mkdir()
    run(VENV / "python", "-m", "trustme", "--quiet", "--dir", folder)
    for source, target in {"server.pem": "tls.crt", "server.key": "tls.key", "client.pem": "ca.crt"}.items():
        (folder / source).rename(folder / target)
