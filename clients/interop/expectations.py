"""Where a client differs from the others by its nature: what it shows, as data, and why."""

from __future__ import annotations

# By case and client: what is seen, as a regular expression, and the reason.
DIFFERENCES: dict[tuple[str, str], tuple[str, str]] = {
    ("large_page", "grpcio"): ("OK", "grpcio's own limit is 4 MiB; the client in Python has lifted it."),
}
