"""Plays cases with clients, prints a table, and fails where something is not as expected.

`python -m clients.interop [--write] [NAME ...]`: each name is a client's, a language's, or the beginning of a case's.
A client whose toolchain is missing is named and left out, unless INTEROP_REQUIRE names that (`go,node`): then it fails.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import clients.interop.cases  # noqa: F401 - registers them
from clients.interop import ROOT
from clients.interop.case import CASES, Case, Verdict
from clients.interop.playing import play_all
from clients.interop.registry import CLIENTS, Client
from clients.interop.report import as_markdown, as_text

PAGE = ROOT / "docs" / "interop.md"


def main() -> int:
    """Return 0 where all is as expected, and 1 else."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    parser.add_argument("names", metavar="NAME", nargs="*", help="clients, languages, beginnings of cases")
    given = parser.parse_args()
    chosen, cases = choose(given.names)
    if not (chosen and cases):
        parser.error(f"there are {', '.join(client.name for client in CLIENTS)}, and the cases {', '.join(CASES)}")
    required = set(os.environ.get("INTEROP_REQUIRE", "").split(","))
    ready, lacking = at_hand(chosen)
    built = [client for client in ready if _build(client)]
    with TemporaryDirectory(prefix="interop-") as folder:
        outcomes = asyncio.run(play_all(built, cases, Path(folder)))
    print(as_text(cases, outcomes))
    failed = any(one.verdict is Verdict.FAILED for its in outcomes.values() for one in its.values())
    if given.write and len(built) == len(CLIENTS) and not failed:
        PAGE.write_text(as_markdown(cases, built, outcomes))
    elif given.write:
        print(f"{PAGE.relative_to(ROOT)} is not written: it is for all clients, and for what is as expected")
    return 1 if failed or lacking & required or len(built) < len(ready) else 0


def choose(names: Sequence[str]) -> tuple[list[Client], list[Case]]:
    """Return the clients that there are, and the cases, as far as names choose them: all where none is named."""
    titles = {title for client in CLIENTS for title in (client.name, client.language)}
    beginnings = tuple(name for name in names if name not in titles)
    clients = [client for client in CLIENTS if client.is_here]
    if titles & set(names):
        clients = [client for client in clients if {client.name, client.language} & set(names)]
    return clients, [case for name, case in CASES.items() if name.startswith(beginnings or ("",))]


def at_hand(chosen: Sequence[Client]) -> tuple[list[Client], set[str]]:
    """Return the clients whose toolchains are here, and what is missing for the others, which are named."""
    lacking: set[str] = set()
    for client in chosen:
        if missing := client.missing:
            lacking.update(missing)
            print(f"without {client.name}: {', '.join(missing)} is missing")
    return [client for client in chosen if not client.missing], lacking


def _build(client: Client) -> bool:
    """Build a driver; tell whether that worked."""
    if not client.build:
        return True
    print(f"building {client.name} ...", file=sys.stderr, flush=True)
    if subprocess.run(client.build, cwd=ROOT, check=False, stdout=sys.stderr).returncode == 0:
        return True
    print(f"wrong: {client.name} cannot be built")
    return False


if __name__ == "__main__":
    sys.exit(main())
