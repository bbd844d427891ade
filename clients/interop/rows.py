"""Pages of repositories that the upstream of a case answers with."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from scripted_upstream import Request, page

# A repository with the numbers that JSON libraries and languages lose first.
EXACT: dict[str, Any] = {
    "name": "exact",
    "namespace": "numbers",
    "size": 2**53 + 1,
    "num_download": 2**63 - 1,
    "created_at": "1969-12-31T23:59:59.000000001Z",
    "updated_at": "2018-07-06T06:18:55.123456789Z",
}


def listing(total: int, description: str = "") -> Callable[[Request], bytes]:
    """Return what answers a request with the page that it asks for, of so many repositories: `repo-0` and so on."""

    def reply(request: Request) -> bytes:
        offset, limit = (int(request.clause(key)) for key in ("offset", "limit"))
        numbers = range(offset, min(offset + limit, total))
        rows = [{"name": f"repo-{number}", "namespace": "interop", "description": description} for number in numbers]
        return page(json.dumps(rows), {"Content-Range": f"{offset}-{len(rows)}/{total}"})

    return reply


def names(total: int) -> list[str]:
    """Return the names of such a list."""
    return [f"repo-{number}" for number in range(total)]
