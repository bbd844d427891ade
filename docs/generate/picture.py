"""docs/terminal.svg: commands on a terminal of 80 columns, in front of a gateway and the embedded upstream."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import re
import shlex
import subprocess
import sys
import termios

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from gateway.server.gateway import Gateway
from gateway.settings.model import Settings
from gateway.simulator.access import Access, Authenticator
from gateway.simulator.app import Faults, make_app, running
from gateway.simulator.data import default_repositories

PICTURE = "terminal.svg"
COMMANDS = ("swr-gateway list --offset 8 --limit 8", "swr-gateway list --token expired")

_ROWS, _COLUMNS = 40, 80
_TOKEN = "valid"
# Whoever opens the page asks no other host for a font.
_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*|<!--.*?-->\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
# Each run has another, and the picture is to change with what is printed.
_REQUEST_ID = "0b7e4a52c1d94f0e8a6d3f5b9c27e811"


def picture() -> str:
    """Run the commands, and return what a terminal shows of them as an SVG."""
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True, _environ={})
    for command, shown in zip(COMMANDS, asyncio.run(_run_all()), strict=True):
        console.print(Text.assemble(("$ ", "green"), (command, "bold")))
        console.print(Text.from_ansi(re.sub(r"(?<=request id: )\w+", _REQUEST_ID, shown).rstrip("\n")))
        console.print()
    return console.export_svg(title="swr-gateway", code_format=_FORMAT, unique_id="terminal")


async def _run_all() -> list[str]:
    access = Authenticator(Access(token=_TOKEN))
    async with running(make_app(default_repositories(), Faults(), access)) as url:
        settings = Settings(upstream_url=url, listen=("127.0.0.1:0",), admin_listen=None)
        async with Gateway(settings) as gateway:
            return [await asyncio.to_thread(_run, command, gateway.addresses[0]) for command in COMMANDS]


def _run(command: str, target: str) -> str:
    """Run a command on a terminal of its own, and return what it wrote there."""
    _, *arguments = shlex.split(command)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (_ROWS, _COLUMNS))
    variables = {"TERM": "xterm", "SWR_GATEWAY_TARGET": target, "SWR_GATEWAY_TARGET_TOKEN": _TOKEN, "PYTHONUTF8": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={"PATH": os.defpath, **variables},
    )
    os.close(theirs)
    written = b""
    while part := _read(ours):
        written += part
    os.close(ours)
    process.wait()
    return written.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # what reading from a terminal ends with once nobody writes to it
        return b""
