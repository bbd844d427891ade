"""Writes the dashboard: `python -m deploy.grafana.dashboard > deploy/grafana/swr-gateway.json`.

The JSON is committed, and a test proves that it is fresh: change what makes it, never the JSON.
"""

from __future__ import annotations

import json
import sys

from deploy.grafana.dashboard.page import dashboard

sys.stdout.write(json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n")
