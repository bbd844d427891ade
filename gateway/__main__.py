"""`python -m gateway` is `swr-gateway`."""

from __future__ import annotations

import signal
import sys


def run() -> None:
    """Run a command; interrupted, it ends without a traceback, also while what it needs is still being imported."""
    try:
        from gateway.cli.main import main  # noqa: PLC0415 - see above

        main()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    run()
