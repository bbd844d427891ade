"""Plays cases with every client library on a real gateway: `python -m clients.interop`, `make interop`.

    __main__      which cases, with which clients; prints the table
    registry      the clients: where each is, what it needs, what version it is
    driver        a client that runs: its process, asked over standard input
    world         what surrounds a client: gateways as processes, upstreams, certificates
    stage         one case on one client: what it asks, and what it must be told
    case          what a case is, and what may come of it
    expectations  where a client differs by its nature, and why
    report        the table, on the screen and as docs/interop.md
    playing       all of it together: who plays what, two clients at a time
    cases         the cases

A driver is a small program in the client's language, `clients/FOLDER/interop`; `interop.proto` is what it is told and
tells.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Upstreams that play bytes, and certificates, are those of the tests.
sys.path.append(str(ROOT / "tests"))
