"""The embedded upstream's repositories: the example of SWR's reference, realistic records, and any number more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from gateway.core.json_text import forgiving

DEFAULT_COUNT = 256
PARTNER = "partner-corp"

_CATEGORIES = ("app_server", "linux", "framework_app", "database", "lang", "other", "windows", "arm")
_TEAMS = ("team-a", "team-b", "payments", "search", "ml-platform", "build-farm", "edge", "observability")
_IMAGES = (
    "nginx",
    "api",
    "worker",
    "redis",
    "postgres",
    "jdk",
    "python",
    "envoy",
    "etl/loader",
    "etl/export",
    "web/front",
)
_DESCRIPTIONS = (
    "",
    "base image of the build farm",
    "订单服务（生产环境）",
    'Quotes "and" back\\slashes\nand a second line',
    "nightly build, do not deploy",
)
_FIRST_CREATED = datetime(2019, 1, 7, 9, 30, tzinfo=UTC)


_decode_records = forgiving(msgspec.json.Decoder(list[dict[str, Any]]).decode)


@dataclass(frozen=True, slots=True)
class Repository:
    """A record as it is sent."""

    record: dict[str, Any]

    @property
    def center(self) -> str:
        """Whose it is: the tenant's own, or shared by the one partner that there is."""
        return "thirdparty" if self.record.get("domain_name") == PARTNER else "self"


def default_repositories(count: int = DEFAULT_COUNT) -> list[Repository]:
    """Return repositories, the same at every start; the first is the example of SWR's reference.

    Args:
        count: The tenant's own. A tenth as many are shared by the partner, behind them.
    """
    records = msgspec.json.decode(files(__package__).joinpath("records.json").read_bytes(), type=list[dict[str, Any]])
    known = [Repository(record) for record in records]
    own = [repository for repository in known if repository.center == "self"]
    shared = [repository for repository in known if repository.center != "self"]
    own += (_made_up(index, _TEAMS[index % len(_TEAMS)], "acme-cloud") for index in range(count - len(own)))
    shared += (_made_up(index, "partner", PARTNER) for index in range(count // 10 - len(shared)))
    return own[:count] + shared[: count // 10]


def load_repositories(path: Path) -> list[Repository]:
    """Read records of one's own: a JSON array of objects, each with at least a name.

    Half of a surrogate pair in them is U+FFFD from here on, as it is to the gateway.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds something else.
    """
    try:
        records = _decode_records(path.read_bytes())
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not all(isinstance(record.get("name"), str) for record in records):
        raise ValueError("every record needs a name")
    return [Repository(record) for record in records]


def _made_up(index: int, namespace: str, domain: str) -> Repository:
    name = f"{_IMAGES[index % len(_IMAGES)]}-{index:05d}"
    created = _FIRST_CREATED + timedelta(hours=7 * index, minutes=index)
    nanoseconds = (542_841_141 + index * 1_234_567) % 1_000_000_000
    updated = created + timedelta(days=index % 400, seconds=index)
    return Repository(
        {
            "name": name,
            "category": _CATEGORIES[index % len(_CATEGORIES)],
            "description": _DESCRIPTIONS[index % len(_DESCRIPTIONS)],
            "size": 5_242_880 + index * 9_973_331,
            "is_public": index % 7 == 0,
            "num_images": index % 5 + 1,
            "num_download": index * 7919 % 100_000,
            "created_at": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "updated_at": updated.strftime("%Y-%m-%dT%H:%M:%S.") + f"{nanoseconds:09d}Z",
            "logo": "",
            "url": "",
            "path": f"swr.cn-north-4.myhuaweicloud.com/{namespace}/{name}",
            "internal_path": f"100.125.0.198:20202/{namespace}/{name}",
            "domain_name": domain,
            "namespace": namespace,
            "tags": [f"v1.{index % 17}.{patch}" for patch in range(index % 5 + 1)],
            "status": False,
            "total_range": 0,
        }
    )
