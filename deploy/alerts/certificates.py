"""Certificates that end, and files that are none."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from deploy.alerts.alerts import Stage
from deploy.alerts.subjects import Subject, serving
from deploy.alerts.upstream import playing

ENDS = "SwrGatewayCertificateEnds"
RELOAD_FAILED = "SwrGatewayFileReloadFailed"


@dataclass(frozen=True)
class Files:
    """A certificate and its key, as files that a gateway reads."""

    folder: Path
    authority: trustme.CA

    def issue(self, days: float) -> None:
        """Write a new certificate that ends in so many days."""
        ends = datetime.now(UTC) + timedelta(days=days)
        pair = self.authority.issue_cert("localhost", "127.0.0.1", not_after=ends)
        pair.private_key_pem.write_to_path(self.folder / "tls.key")
        self.certificate.write_bytes(b"".join(one.bytes() for one in pair.cert_chain_pems))

    @property
    def certificate(self) -> Path:
        """Where it is."""
        return self.folder / "tls.crt"

    def options(self) -> tuple[str, ...]:
        """Return the options of a gateway that has them."""
        return ("--auth=none", f"--tls-cert={self.certificate}", f"--tls-key={self.folder / 'tls.key'}")


async def certificates(stage: Stage) -> None:
    """A certificate has ten days left, then one, then it is renewed; and a file that is none comes last."""
    files = Files(stage.folder, trustme.CA())
    files.issue(10)
    trust = files.authority.cert_pem.bytes()
    async with (
        playing() as upstream,
        serving(stage.server, stage.job, *files.options(), upstream=upstream, trust=trust) as gateway,
    ):
        await stage.fires(f"{ENDS}:warning")
        _change(gateway, files, days=1)
        await stage.clears(f"{ENDS}:warning")
        await stage.fires(f"{ENDS}:critical")
        _change(gateway, files, days=300)
        await stage.clears(f"{ENDS}:critical")
        files.certificate.write_text("no certificate", encoding="utf-8")
        gateway.process.send_signal(signal.SIGHUP)
        await stage.fires(RELOAD_FAILED)
        _change(gateway, files, days=300)
        await stage.clears(RELOAD_FAILED)


def _change(gateway: Subject, files: Files, *, days: float) -> None:
    files.issue(days)
    gateway.process.send_signal(signal.SIGHUP)
