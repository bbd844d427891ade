"""Rules, their tests, and the page of /metrics, read by promtool."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from deploy.check.tools import DEPLOY, WrongError, promtool, refusal, run

RULES = DEPLOY / "prometheus" / "rules.yaml"


def check_rules() -> Iterator[str]:
    """Check what a PrometheusRule holds, and run the tests of its alerts."""
    spec = yaml.safe_load(RULES.read_text(encoding="utf-8"))["spec"]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / RULES.name).write_text(yaml.safe_dump(spec), encoding="utf-8")
        found = re.search(r"(\d+) rules found", run(promtool(), "check", "rules", RULES.name, folder=work))
        if found is None or found[1] == "0":
            raise WrongError("promtool finds no rules")
        shutil.copytree(RULES.parent / "tests", work / "tests")
        tests = sorted((work / "tests").glob("*.yaml"))
        for test in tests:
            run(promtool(), "test", "rules", test.name, folder=test.parent)
        spec["groups"][0]["rules"][0]["exprx"] = spec["groups"][0]["rules"][0].pop("expr")
        (work / RULES.name).write_text(yaml.safe_dump(spec), encoding="utf-8")
        if "exprx" not in (output := refusal(promtool(), "check", "rules", RULES.name, folder=work)):
            raise WrongError(f"refused, but not for exprx:\n{output}")
    yield f"promtool check rules: {found[1]} rules; a misspelt field is found"
    yield f"promtool test rules: {', '.join(test.name for test in tests)}"


def check_page(page: str) -> None:
    """Check the text of /metrics.

    Raises:
        WrongError: It breaks a rule of the format, or a custom of its names.
    """
    run(promtool(), "check", "metrics", text=page)
