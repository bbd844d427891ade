"""Run all checks; print a line for each thing that was checked, and everything that is wrong."""

# ruff: noqa: T201 - it prints

from __future__ import annotations

import sys

from deploy.check.charts import check_chart
from deploy.check.envoy import check_envoy
from deploy.check.image import check_image
from deploy.check.manifests import check_manifests
from deploy.check.prometheus import check_rules
from deploy.check.tools import WrongError
from deploy.check.units import check_units

CHECKS = (check_manifests, check_chart, check_rules, check_envoy, check_units, check_image)


def main() -> int:
    """Return the exit code: 1 where something is wrong."""
    wrong = 0
    for check in CHECKS:
        try:
            for line in check():
                print(f"ok     {line}", flush=True)
        except WrongError as error:
            wrong += 1
            print(f"WRONG  {check.__name__}: {error}", flush=True)
    return 1 if wrong else 0


sys.exit(main())
