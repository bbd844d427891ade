"""How many cores a process may use: those it may run on, and what its control groups give it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.settings import cores

MANY = set(range(16))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 16 cores with control groups, in files."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: MANY)
    monkeypatch.setattr(cores, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "_OWN_CGROUP", tmp_path / "own")
    (tmp_path / "cgroup" / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "own").write_text("9:name=systemd:/\n0::/outer/inner\n")
    return tmp_path / "cgroup"


def test_without_limits_all_cores_are_available(machine: Path) -> None:
    assert cores.available_cores() == 16
    (machine / "outer" / "cpu.max").write_text("max 100000\n")
    assert cores.available_cores() == 16


@pytest.mark.parametrize(
    ("quota", "available"),
    [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("1000 100000", 1), ("6400000 100000", 16)],
)
@pytest.mark.parametrize("group", ["outer/inner", "outer", "."])
def test_a_quota_of_cpu_time_counts_wherever_it_is(group: str, quota: str, available: int, machine: Path) -> None:
    (machine / group / "cpu.max").write_text(quota + "\n")
    assert cores.available_cores() == available


def test_the_least_quota_counts(machine: Path) -> None:
    (machine / "outer" / "cpu.max").write_text("300000 100000\n")
    (machine / "outer" / "inner" / "cpu.max").write_text("500000 100000\n")
    assert cores.available_cores() == 3


@pytest.mark.parametrize("own", [None, "", "4:memory:/x\n", "0::/\n", "0::/../outside\n"])
def test_a_process_of_no_group_is_held_to_the_quota_of_all(own: str | None, machine: Path) -> None:
    (machine / "cpu.max").write_text("100000 100000\n")
    (machine.parent / "own").unlink()
    if own is not None:
        (machine.parent / "own").write_text(own)
    assert cores.available_cores() == 1


@pytest.mark.usefixtures("machine")
def test_cores_that_the_process_may_run_on_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert cores.available_cores() == 2
