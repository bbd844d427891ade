"""The protocol: generated code is fresh, and what callers depend on does not move."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor

from gateway.swr.v1 import repos_pb2

ROOT = Path(__file__).parent.parent
GENERATED = (Path("gateway/swr/v1"), Path("clients/interop"))
OF_THE_CLIENT = Path("clients/python/swr_gateway_client/v1")
REPOS = Path("protos/gateway/swr/v1/repos.proto")

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
    for folder in GENERATED:
        made = sorted(path.name for path in (tmp_path / folder).iterdir())
        committed = sorted(path.name for path in (ROOT / folder).glob("*_pb2*"))
        assert made == committed
        for name in made:
            assert (tmp_path / folder / name).read_text() == (ROOT / folder / name).read_text(), name
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


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A work tree of the protocol, of which there is no release."""
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    for command in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message", "All")):
        git(tmp_path, *command)
    return tmp_path


def git(tree: Path, *arguments: str) -> None:
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
    subprocess.run(["git", *who, *arguments], cwd=tree, check=True)


def breaking(tree: Path) -> tuple[int, str]:
    """Run the check in a work tree; return its exit code and what it says."""
    environment = os.environ | {"BUF": str(Path(sys.executable).with_name("buf"))}
    command = [str(ROOT / "protos" / "breaking.sh")]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def change(tree: Path, old: str, new: str) -> None:
    text = (tree / REPOS).read_text()
    assert text.count(old) == 1
    (tree / REPOS).write_text(text.replace(old, new))


def test_without_a_release_the_protocol_can_break_nobody(tree: Path) -> None:
    git(tree, "tag", "speed-base")
    code, said = breaking(tree)
    assert (code, "no release yet" in said) == (0, True)


def test_a_new_field_breaks_nobody(tree: Path) -> None:
    git(tree, "tag", "v0.1.0")
    change(tree, "string logo = 17;", "string logo = 17;\n\n  // New.\n  string fresh = 18;")
    assert breaking(tree) == (0, "buf breaking: the protocol breaks nothing of v0.1.0\n")


def test_a_field_with_another_number_breaks_callers(tree: Path) -> None:
    git(tree, "tag", "v0.1.0")
    change(tree, "string logo = 17;", "string logo = 18;")
    code, said = breaking(tree)
    assert code != 0
    assert '"17"' in said
