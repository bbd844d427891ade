"""The protocol: generated code is fresh, and what callers depend on does not move."""

from __future__ import annotations

import subprocess
from pathlib import Path

from google.protobuf.descriptor import Descriptor

from gateway.swr.v1 import repos_pb2

ROOT = Path(__file__).parent.parent
GENERATED = Path("gateway/swr/v1")
OF_THE_CLIENT = Path("clients/python/swr_gateway_client/v1")

FIELDS = {
    "RepoFilter": "center=1 namespace=2 name=3 category=4",
    "ListReposRequest": "filter=1 offset=2 limit=3",
    "ListReposResponse": "repos=1 content_range=2",
    "StreamReposRequest": "filter=1 page_size=2 start_offset=3",
    "StreamReposResponse": "repos=1 content_range=2 next_offset=3",
    "ContentRange": "offset=1 count=2 total=3",
    "Repo": (
        "name=1 category=2 description=3 size=4 is_public=5 num_images=6 num_download=7 created_at=8 updated_at=9"
        " url=10 path=11 internal_path=12 domain_name=13 namespace=14 tags=15 status=16 logo=17"
    ),
}


def test_generated_code_is_fresh(tmp_path: Path) -> None:
    subprocess.run(["make", "--no-print-directory", "protos", f"OUT={tmp_path}"], cwd=ROOT, check=True)
    made = sorted(path.name for path in (tmp_path / GENERATED).iterdir())
    committed = sorted(path.name for path in (ROOT / GENERATED).glob("repos_pb2*"))
    assert made == committed
    for name in made:
        assert (tmp_path / GENERATED / name).read_text() == (ROOT / GENERATED / name).read_text(), name
    for path in (tmp_path / OF_THE_CLIENT).iterdir():
        assert path.read_bytes() == (ROOT / OF_THE_CLIENT / path.name).read_bytes(), path.name


def test_names_and_numbers_are_those_that_callers_know() -> None:
    messages: dict[str, Descriptor] = dict(repos_pb2.DESCRIPTOR.message_types_by_name)
    assert {
        name: " ".join(f"{field.name}={field.number}" for field in message.fields) for name, message in messages.items()
    } == FIELDS
    assert dict(repos_pb2.Center.items()) == {"CENTER_UNSPECIFIED": 0, "CENTER_SELF": 1, "CENTER_THIRD_PARTY": 2}
    service = repos_pb2.DESCRIPTOR.services_by_name["RepoService"]
    assert {method.name: method.server_streaming for method in service.methods} == {
        "ListRepos": False,
        "StreamRepos": True,
    }
