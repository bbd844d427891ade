"""`make chart-check`: the chart, as Helm's own command reads it, which takes minutes to compile."""

# ruff: noqa: T201 - it prints

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from deploy.check.charts import CHART, EVERYTHING, by_library, check_chart, in_readme
from deploy.check.tools import BIN, WrongError, run

HELM = BIN / "helm"


def check() -> Iterator[str]:
    """Lint and package the chart, and render the package where `make deploy-check` renders the folder."""
    everything = yaml.safe_dump(EVERYTHING)
    for values in ("", in_readme(), everything):
        run(HELM, "lint", "--strict", CHART, "--values", "-", text=values)
    yield f"helm {run(HELM, 'version', '--short').strip()} lint --strict"
    with tempfile.TemporaryDirectory() as folder:
        run(HELM, "package", CHART, "--destination", folder)
        [package] = Path(folder).iterdir()

        def by_command(release: str, namespace: str, values: str) -> str:
            return run(HELM, "template", release, package, "--namespace", namespace, "--values", "-", text=values)

        yield from check_chart(by_command)
        arguments = ("other", "elsewhere", everything)
        if _objects(by_command(*arguments)) != _objects(by_library(*arguments)):
            raise WrongError("the command renders otherwise than its library")
        yield "the command renders what its library does, with all values that there are"


def _objects(rendered: str) -> list[str]:
    """Return objects in one order: the command has its own, of kinds."""
    return sorted(yaml.safe_dump(document) for document in yaml.safe_load_all(rendered) if document)


def main() -> int:
    """Print a line for each thing that was checked; return the exit code."""
    try:
        for line in check():
            print(f"ok     {line}", flush=True)
    except WrongError as error:
        print(f"WRONG  {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
