"""The client as a distribution of its own: what it shares with the gateway, and that the two get along."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gateway
import swr_gateway_client
from gateway.core import tokens as gateways
from gateway.core.errors import SLOW_READER
from swr_gateway_client import Client, SyncClient, call_error
from swr_gateway_client import tokens as clients

ROOT = Path(__file__).parent.parent
CLIENT = ROOT / "clients" / "python"


def python(code: str, folder: Path, **variables: str) -> str:
    """Run code in a process of its own, which finds modules in its folder first; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_gateway_needs_the_client_of_its_own_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert swr_gateway_client.__version__ == gateway.__version__
    assert f"swr-gateway-client=={gateway.__version__}" in project["dependencies"]


def test_the_license_is_the_same() -> None:
    assert (CLIENT / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_what_both_have_to_know_is_the_same() -> None:
    assert SLOW_READER.reason == call_error.SLOW_READER
    assert clients.CALLER_TOKEN == gateways.CALLER_TOKEN
    assert inspect.getsource(clients.is_token) == inspect.getsource(gateways.is_token)


def test_both_clients_have_the_same_methods_and_arguments() -> None:
    methods = ("__init__", "list_repos", "iter_pages", "iter_repos")
    of_both = [
        [[*inspect.signature(getattr(kind, name)).parameters.values()] for name in methods]
        for kind in (Client, SyncClient)
    ]
    assert of_both[0] == of_both[1]


@pytest.mark.parametrize("protobuf", ["upb", "python"])
@pytest.mark.parametrize(
    "modules",
    [
        "gateway.swr.v1.repos_pb2 as first, swr_gateway_client.v1.repos_pb2 as second",
        "swr_gateway_client.v1.repos_pb2 as first, gateway.swr.v1.repos_pb2 as second",
    ],
    ids=["gateway first", "client first"],
)
def test_a_process_that_has_both_has_each_message_once(modules: str, protobuf: str, tmp_path: Path) -> None:
    code = f"""
import {modules}, pickle
assert first.DESCRIPTOR is second.DESCRIPTOR
assert all(getattr(first, name) is getattr(second, name) for name in first.DESCRIPTOR.message_types_by_name)
assert first.Center.items() == second.Center.items()
repo = second.Repo(name="r")
assert pickle.loads(pickle.dumps(first.ListReposResponse(repos=[repo]))).repos[0] == repo
"""
    python(code, tmp_path, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=protobuf)


@pytest.mark.parametrize("protobuf", ["upb", "python"])
def test_a_reply_that_is_no_utf_8_is_unreadable_to_every_protobuf(protobuf: str, tmp_path: Path) -> None:
    code = """
from swr_gateway_client.call_error import UNREADABLE
from swr_gateway_client.methods import read_message, read_page
for read in (read_page, read_message):
    try:
        read(bytes.fromhex("0a030a01ff"))
    except UNREADABLE:
        print("unreadable")
"""
    assert python(code, tmp_path, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=protobuf) == "unreadable\n" * 2


def test_an_application_may_have_a_gateway_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "__init__.py").write_text("WHOSE = 'the application'\n")
    code = """
import gateway, pickle, sys
from swr_gateway_client import Client, Repo, SyncClient
assert pickle.loads(pickle.dumps(Repo(name="r"))) == Repo(name="r")
with SyncClient("localhost:1", timeout=0.1) as client:
    try:
        client.list_repos()
    except Exception as failure:
        print(failure.code.name)
print(gateway.WHOSE, *(name for name in sys.modules if name.startswith("gateway")))
"""
    assert python(code, tmp_path) == "DEADLINE_EXCEEDED\nthe application gateway\n"
