"""How commands are run, and where those are that make has not put onto the PATH."""

# ruff: noqa: S603 - all commands are our own

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
# Go programs, at the versions of types/go.mod, and Debian's promtool.
TOOLS = ROOT / ".tools"
BIN = TOOLS / "bin"
# The gateway's own environment, and that of requirements/deploy.lock.
VENV = ROOT / ".venv" / "bin"
DEPLOY_VENV = ROOT / ".venv-deploy" / "bin"

PATIENCE = 600.0

# What is shipped is looked at, not the settings of who looks.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("SWR_GATEWAY_")}


class WrongError(Exception):
    """Something that is shipped is wrong; the text is for people."""


def run(*command: str | Path, text: str | None = None, folder: Path = ROOT) -> str:
    """Run a command and return what it printed.

    Args:
        command: The program and its arguments.
        text: What it reads from standard input.
        folder: Where it runs.

    Raises:
        WrongError: It failed; with all that it printed.
    """
    result = subprocess.run(
        command,
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=ENVIRONMENT,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    if result.returncode:
        raise WrongError(f"{Path(command[0]).name} exits with {result.returncode}:\n{result.stdout.strip()}")
    return result.stdout


def refusal(*command: str | Path, text: str | None = None, folder: Path = ROOT) -> str:
    """Run a command that must fail, and return what it printed.

    Raises:
        WrongError: It succeeded.
    """
    try:
        run(*command, text=text, folder=folder)
    except WrongError as error:
        return str(error)
    raise WrongError(f"{Path(command[0]).name} accepts a misspelt field")


def promtool() -> Path:
    """Return promtool: the PATH's, or Debian's, unpacked beside the other tools."""
    return _of_debian("prometheus", "usr/bin/promtool")


def prometheus() -> Path:
    """Return Prometheus, likewise."""
    return _of_debian("prometheus", "usr/bin/prometheus")


def _of_debian(package: str, path: str) -> Path:
    """Return a program, of the PATH or of a package, which is not installed: that would start a server, and needs root.

    Raises:
        WrongError: There is none to be had.
    """
    name = Path(path).name
    if found := shutil.which(name):
        return Path(found)
    own = BIN / name
    if not own.exists():
        BIN.mkdir(parents=True, exist_ok=True)
        _unpack(package, path, own)
    return own


def systemd_analyze() -> Path:
    """Return systemd-analyze.

    Raises:
        WrongError: There is none.
    """
    if found := shutil.which("systemd-analyze"):
        return Path(found)
    raise WrongError(
        "there is no systemd-analyze: install Debian's package systemd, or run this on a machine that has it"
    )


def _unpack(package: str, path: str, target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        try:
            try:
                run("apt-get", "download", package, folder=work)
            except WrongError:
                if os.geteuid() != 0:
                    raise
                run("apt-get", "update", "--quiet")
                run("apt-get", "download", package, folder=work)
            run("dpkg-deb", "--extract", *work.glob("*.deb"), work)
        except (WrongError, OSError) as error:
            raise WrongError(
                f"there is no {target.name}: put it onto the PATH (Debian's package {package})\n{error}"
            ) from error
        # Under its own name only once it is whole.
        shutil.copy2(work / path, target.with_suffix(".new"))
        target.with_suffix(".new").replace(target)
