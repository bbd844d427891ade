"""The Dockerfile, and its steps without a container engine, up to a gateway that serves."""

# ruff: noqa: S603 - commands and addresses are our own

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from deploy.check.prometheus import check_page
from deploy.check.tools import DEPLOY_VENV, ENVIRONMENT, ROOT, WrongError, run

DOCKERFILE = ROOT / "Dockerfile"
PATIENCE = 60.0

# As a container: nothing of the file system can be written, and the user is the image's, without any rights. Ends with
# the command itself, in the same process.
CONTAINED = ("unshare", "--mount", "--propagation=private", "sh", "-c", 'mount -o remount,bind,ro / && exec "$@"', "sh")
NO_RIGHTS = ("--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all")


def check_image() -> Iterator[str]:
    """Lint the Dockerfile, do what its first stage does, and start what its last stage starts."""
    run(DEPLOY_VENV / "hadolint", "--no-color", DOCKERFILE)
    yield "hadolint: Dockerfile"
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        work.chmod(0o755)
        context = work / "source"
        _copy(context)
        installed = work / "opt"
        # /source and /opt/swr-gateway, as the Dockerfile calls them, are folders of our own here.
        step = _instruction("RUN", 0)
        # By whoever keeps files to himself: the gateway's user has to read them all the same.
        run(
            *("sh", "-c", 'umask 077 && exec "$@"', "sh"),
            *(
                argument.replace("/source", str(context)).replace("/opt/swr-gateway", str(installed))
                for argument in step
            ),
            folder=context,
        )
        program = installed / "bin" / _instruction("ENTRYPOINT")[0]
        if not program.exists():
            raise WrongError(f"ENTRYPOINT: there is no {program.name} in what is installed")
        yield f"the Dockerfile's first stage, from its own context: {run(program, '--version').strip()}"
        contained, how = _container()
        check_page(_metrics_of(program, contained))
        yield f"its ENTRYPOINT and CMD serve {how}; a call through them; promtool check metrics: /metrics"


def _container() -> tuple[tuple[str, ...], str]:
    """Return what a command is put behind, to run as in a container, and how that is; only root can.

    Raises:
        WrongError: Something can be written there, or the user has a right.
    """
    if os.geteuid() != 0:
        return (), "(not as USER on a read-only root, which takes root here)"
    [user] = re.findall(r"(?m)^USER (\d+:\d+)$", DOCKERFILE.read_text(encoding="utf-8"))
    uid, gid = user.split(":")
    contained = (*CONTAINED, "setpriv", f"--reuid={uid}", f"--regid={gid}", *NO_RIGHTS)
    said = run(*contained, "sh", "-c", "id -u; grep CapEff /proc/self/status; touch /tmp/x || touch /x || true")
    if [uid, "CapEff:", 16 * "0"] != said.split()[:3] or said.count("Read-only file system") != 2:
        raise WrongError(f"this is not how a container runs: {said}")
    return contained, f"as USER {user} without rights, on a read-only root"


def _instruction(name: str, index: int = -1) -> list[str]:
    found = re.findall(rf"(?m)^{name} (\[.+\])$", DOCKERFILE.read_text(encoding="utf-8"))
    arguments: list[str] = json.loads(found[index])
    return arguments


def _copy(context: Path) -> None:
    """Copy what the first stage copies, as far as .dockerignore lets it through."""
    let_through = [
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    ]
    for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", DOCKERFILE.read_text(encoding="utf-8")):
        *sources, target = shlex.split(line)
        for source in sources:
            if not any(source == name or source.startswith(f"{name}/") for name in let_through):
                raise WrongError(f"the Dockerfile copies {source}, which .dockerignore keeps out")
            place = context / target if source == target else context / target / Path(source).name
            place.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(ROOT / source, place)


def _metrics_of(program: Path, contained: tuple[str, ...]) -> str:
    """Start an upstream and the gateway, call it once, and return its page of metrics."""
    simulate = (program, "simulate", "--listen", "127.0.0.1:0")
    with _started(simulate, r"http://127\.0\.0\.1:\d+") as upstream:
        options = ("--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--auth=none", f"--upstream-url={upstream}")
        serve: tuple[str | Path, ...] = (*contained, program, *_instruction("CMD"), *options)
        with _started(serve, r"serving on (?:.+), operators on [\d.:]+") as said:
            target, admin = re.findall(r" on ([\d.:]+)", said)
            run(program, "list", "--target", target, "--offset", "0", "--limit", "10")
            with urllib.request.urlopen(f"http://{admin}/metrics", timeout=PATIENCE) as answer:
                return str(answer.read().decode())


@contextmanager
def _started(command: Sequence[str | Path], announcement: str) -> Iterator[str]:
    """Run a command for the time of a `with` block; give what it says once it is ready, and end it by SIGTERM."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT, text=True)
    assert process.stdout is not None
    try:
        yield _wait_for(process.stdout, announcement)
        process.terminate()
        if code := process.wait(PATIENCE):
            raise WrongError(f"{shlex.join(map(str, command))} exits with {code} on SIGTERM")
    finally:
        process.kill()
        process.communicate()


def _wait_for(lines: IO[str], announcement: str) -> str:
    said = []
    for line in lines:
        said.append(line)
        if match := re.search(announcement, line):
            return match[0]
    raise WrongError(f"it ended before it was ready:\n{''.join(said)}")
