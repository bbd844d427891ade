"""The settings file while the gateway runs: secrets in it are put to use when they change, all else with a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import SecretStr

from gateway.files.reloading import Look, Reloading
from gateway.metrics import Metrics
from gateway.settings.load import SettingsError, load_settings
from gateway.settings.model import SECRETS, Auth, Settings
from gateway.start_errors import BadFileError

NAME = "settings_file"

Secrets: TypeAlias = Mapping[str, SecretStr | None]

# The secrets that each way to authenticate uses, and the one that only temporary access keys have.
_USED: dict[Auth, tuple[str, ...]] = {
    Auth.TOKEN: ("token",),
    Auth.AKSK: ("access_key", "secret_key", "security_token"),
    Auth.IAM: ("iam_password",),
}
_OPTIONAL = "security_token"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings as they were loaded, and from where.

    Attributes:
        settings: The settings.
        flags: Those that were given on the command line, by their names.
        file: The TOML file.
    """

    settings: Settings
    flags: Mapping[str, Any]
    file: Path

    def again(self) -> Settings:
        """Return what flags, environment and file say by now.

        Raises:
            SettingsError: As load_settings.
        """
        return load_settings(self.flags, self.file, is_start=False)


class SettingsFile:
    """Reads the file again when it changes.

    Args:
        loaded: What the gateway was started with.
        metrics: Where reloads are counted.

    Attributes:
        use: Called with the secrets, in the event loop, whenever they are other ones.
    """

    def __init__(self, loaded: Loaded, metrics: Metrics) -> None:
        self.use: Callable[[Secrets], None] = lambda _: None
        self._loaded = loaded
        self._names = _USED.get(loaded.settings.auth, ())
        self._secrets: Secrets = {name: getattr(loaded.settings, name) for name in self._names}
        self._needs_restart: tuple[str, ...] = ()
        self._file: Reloading[Secrets] = Reloading(NAME, (loaded.file,), self._load, metrics, fallback=self._secrets)
        self._in_use: Secrets = self._secrets
        self._loop = asyncio.get_running_loop()

    @property
    def secrets(self) -> Secrets:
        """Those to use from the beginning: the file may be another one than it was at the start of the gateway."""
        return self._in_use

    def look_at_files(self) -> tuple[Look, ...]:
        """Read the file again if it changed, and have its secrets used; may be called from another thread."""
        look = self._file.look()
        secrets = self._file.current()
        if secrets != self._in_use:
            self._in_use = secrets
            self._loop.call_soon_threadsafe(self.use, secrets)
        return (look._replace(needs_restart=self._needs_restart),)

    def _load(self) -> Secrets:
        try:
            found = self._loaded.again()
        except SettingsError as error:
            raise BadFileError(self._loaded.file, "; ".join(error.problems)) from error
        if found.auth is Auth.AKSK and (found.access_key is None) != (found.secret_key is None):
            raise BadFileError(self._loaded.file, "holds half of a key: access_key and secret_key go together")
        secrets = self._usable_of(found)
        changed = [name for name in self._names if secrets[name] != self._secrets[name]]
        self._secrets = secrets
        running = self._loaded.settings.model_copy(update=dict(secrets))
        # Secrets that nothing uses make no difference.
        names = [name for name in Settings.model_fields if name in self._names or name not in SECRETS]
        self._needs_restart = tuple(name for name in names if getattr(found, name) != getattr(running, name))
        if changed:
            _log.info("%s: in use from now on: %s", NAME, ", ".join(changed))
        if self._needs_restart:
            _log.warning("%s: needs a restart: %s", NAME, ", ".join(self._needs_restart))
        return secrets

    def _usable_of(self, found: Settings) -> Secrets:
        """Return the secrets to use: where others are wanted, or one is missing, those in use.

        One that the gateway does without stays unused: a token beside `token_file` is for another start.
        """
        secrets = {name: getattr(found, name) for name in self._names}
        needed = [name for name in self._names if name != _OPTIONAL]
        has_all = all(secrets[name] is not None and self._secrets[name] is not None for name in needed)
        # A copy, for the same object would count as a file that is unchanged.
        return secrets if has_all and found.auth is self._loaded.settings.auth else dict(self._secrets)
