"""The unit of systemd, read by systemd."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploy.check.tools import DEPLOY, WrongError, run, systemd_analyze

# Of 100, as `systemd-analyze security` counts; the most is what a unit with nothing said has.
EXPOSURE = 20


def check_units() -> Iterator[str]:
    """Verify the unit with its drop-in, misspell a directive, and measure what it leaves open."""
    analyze = systemd_analyze()
    unit = (DEPLOY / "systemd" / "swr-gateway.service").read_text(encoding="utf-8")
    # The gateway need not be installed here.
    unit = re.sub("(?m)^ExecStart=.*$", "ExecStart=/bin/true", unit)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "swr-gateway.service"
        path.write_text(unit, encoding="utf-8")
        drop_in = path.with_suffix(".service.d") / "tls.conf"
        drop_in.parent.mkdir()
        drop_in.write_bytes((DEPLOY / "systemd" / "tls.conf").read_bytes())
        # What systemd does not know it ignores, and says so.
        if said := run(analyze, "verify", "--man=no", path).strip():
            raise WrongError(said)
        run(analyze, "security", "--offline=yes", f"--threshold={EXPOSURE}", "--no-pager", path)
        path.write_text(unit.replace("ProtectClock=", "ProtectClok="), encoding="utf-8")
        if "ProtectClok" not in run(analyze, "verify", "--man=no", path):
            raise WrongError("systemd-analyze accepts a misspelt directive")
    yield "systemd-analyze verify: the unit with tls.conf; a misspelt directive is found"
    yield f"systemd-analyze security: the unit is exposed by less than {EXPOSURE} of 100"
