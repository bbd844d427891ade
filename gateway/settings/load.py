"""Merges flags, environment and file, and explains everything that is wrong with them at once."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.settings.model import PREFIX, Auth, Settings
from gateway.settings.names import flag, variable
from gateway.settings.rules import find_contradictions

CONFIG_VARIABLE = f"{PREFIX}CONFIG"

_SDK_VARIABLES = {
    "access_key": "HUAWEICLOUD_SDK_AK",
    "secret_key": "HUAWEICLOUD_SDK_SK",
    "security_token": "HUAWEICLOUD_SDK_SECURITY_TOKEN",
}

# What Kubernetes puts into every container beside Services that are named swr-gateway, or swr-gateway-admin.
_OF_KUBERNETES = re.compile(
    rf"{PREFIX}(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)


class SettingsError(Exception):
    """Settings that cannot be used.

    Attributes:
        problems: One sentence each, naming the setting where it was given, and never its value.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load_settings(flags: Mapping[str, Any], config: Path | None = None) -> Settings:
    """Merge the three sources and check the result.

    Args:
        flags: Settings given on the command line, by their names.
        config: The TOML file; the variable SWR_GATEWAY_CONFIG stands in for it.

    Raises:
        SettingsError: With every problem that was found.
    """
    config = config or (Path(path) if (path := os.environ.get(CONFIG_VARIABLE)) else None)
    file, problems = _read_file(config)
    environment = {name: os.environ[variable(name)] for name in Settings.model_fields if variable(name) in os.environ}
    given = {**file, **environment, **flags}
    sdk = _sdk_variables(given)
    given |= {name: os.environ[place] for name, place in sdk.items()}
    places = {
        **sdk,
        **{name: f"{name} in {config}" for name in file},
        **{name: variable(name) for name in environment},
        **{name: flag(name) for name in flags},
    }
    problems += _misspelt_variables()
    settings, bad = _validate(given, places)
    problems += bad
    problems += find_contradictions(
        settings, {name for name, value in given.items() if value not in ("", None)}, places
    )
    if problems:
        raise SettingsError(problems)
    return settings


def _validate(given: Mapping[str, Any], places: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """Check each setting by itself; those that are bad are explained, and left out of what is returned."""
    try:
        return Settings(**given), []
    except ValidationError as error:
        details = error.errors()
    bad = {detail["loc"][0] for detail in details}
    rest = Settings(**{name: value for name, value in given.items() if name not in bad})
    return rest, [_explain(detail, places) for detail in details]


def _sdk_variables(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables of the cloud's own SDK that stand in for an access key: all of it, or nothing.

    Half of one key and half of another would sign wrongly, and the cloud locks a key after five wrong signatures.
    """
    if given.get("auth") != Auth.AKSK or any(given.get(name) for name in _SDK_VARIABLES):
        return {}
    return {name: place for name, place in _SDK_VARIABLES.items() if os.environ.get(place)}


def _read_file(config: Path | None) -> tuple[dict[str, Any], list[str]]:
    if config is None:
        return {}, []
    try:
        content = tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        return {}, [f"--config: cannot read {config}: {error.strerror}"]
    except ValueError:
        # The parser's text may quote what it stumbled over, and that may be a secret.
        return {}, [f"--config: {config} is not TOML"]
    known = {name: value for name, value in content.items() if name in Settings.model_fields}
    return known, [f"{name} in {config}: there is no such setting" for name in content if name not in known]


def _misspelt_variables() -> Iterator[str]:
    known = {*map(variable, Settings.model_fields), CONFIG_VARIABLE}
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known and not _OF_KUBERNETES.fullmatch(name):
            close = difflib.get_close_matches(name, known, n=1)
            yield f"{name}: there is no such setting" + (f"; did you mean {close[0]}?" if close else "")


def _explain(detail: Any, places: Mapping[str, str]) -> str:
    name, text = detail["loc"][0], detail["msg"]
    return f"{places[name]}: {text.removeprefix('Value error, ').replace('Input should be', 'must be')}"
