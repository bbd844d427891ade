"""The unit of systemd, read by systemd."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploy.check.tools import DEPLOY, WrongError, run, systemd_analyze

# Of 100, as `systemd-analyze security` counts; the most is what a unit with nothing said has.
EXPOSURE = 20
# The first systemd that knows Type=notify-reload.
KNOWS_NOTIFY_RELOAD = 253


def check_units() -> Iterator[str]:
    """Verify the unit with its drop-ins, misspell a directive, and measure what it leaves open."""
    analyze = systemd_analyze()
    version = int(run(analyze, "--version").split()[1])
    drop_ins = ["tls.conf", *(["notify-reload.conf"] if version >= KNOWS_NOTIFY_RELOAD else [])]
    unit = (DEPLOY / "systemd" / "swr-gateway.service").read_text(encoding="utf-8")
    # The gateway need not be installed here.
    unit = re.sub("(?m)^ExecStart=.*$", "ExecStart=/bin/true", unit)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "swr-gateway.service"
        path.write_text(unit, encoding="utf-8")
        folder_of_drop_ins = path.with_suffix(".service.d")
        folder_of_drop_ins.mkdir()
        for name in drop_ins:
            (folder_of_drop_ins / name).write_bytes((DEPLOY / "systemd" / name).read_bytes())
        # What systemd does not know it ignores, and says so.
        if said := run(analyze, "verify", "--man=no", path).strip():
            raise WrongError(said)
        run(analyze, "security", "--offline=yes", f"--threshold={EXPOSURE}", "--no-pager", path)
        path.write_text(unit.replace("ProtectClock=", "ProtectClok="), encoding="utf-8")
        if "ProtectClok" not in run(analyze, "verify", "--man=no", path):
            raise WrongError("systemd-analyze accepts a misspelt directive")
    yield f"systemd-analyze verify: the unit with {' and '.join(drop_ins)}; a misspelt directive is found"
    if version < KNOWS_NOTIFY_RELOAD:
        yield f"not read: notify-reload.conf, for systemd {KNOWS_NOTIFY_RELOAD} and newer; this one is {version}"
    yield f"systemd-analyze security: the unit is exposed by less than {EXPOSURE} of 100"
