"""Merges flags, environment and file, and explains everything that is wrong with them at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.settings.callers import CALLER_VARIABLES
from gateway.settings.config_file import ConfigFileError, read_config_file
from gateway.settings.given import Given
from gateway.settings.model import PREFIX, Auth, Settings
from gateway.settings.names import CONFIG, flag, likely_meant, variable
from gateway.settings.rules import find_contradictions

CONFIG_VARIABLE = variable(CONFIG)

_SDK_VARIABLES = {
    "access_key": "HUAWEICLOUD_SDK_AK",
    "secret_key": "HUAWEICLOUD_SDK_SK",
    "security_token": "HUAWEICLOUD_SDK_SECURITY_TOKEN",
}

# What Kubernetes puts into every container beside Services that are named swr-gateway, or swr-gateway-admin.
_OF_KUBERNETES = re.compile(
    rf"{PREFIX}(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)

# Beside the settings themselves: where the file is, and the target of `swr-gateway list`, which may run here too.
_KNOWN = frozenset((*map(variable, Settings.model_fields), CONFIG_VARIABLE, *CALLER_VARIABLES))

_OF_CALLERS = (name.removeprefix(PREFIX).lower() for name in sorted(CALLER_VARIABLES))
_NAMES_OF_VARIABLES = (*Settings.model_fields, CONFIG, *_OF_CALLERS)

# What pydantic says of a default that depends on a setting which is bad: that one is told.
_FOLLOWS = "default_factory_not_called"

# How the kinds of pydantic's errors begin that are about a value of another kind.
_WANTED = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text"}


class SettingsError(Exception):
    """Settings that cannot be used.

    Attributes:
        problems: One sentence each, naming the setting where it was given, and never a value that may be a secret. None
            follows from another.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def config_file(config: Path | None) -> Path | None:
    """Return the TOML file: that of --config, else that of the variable SWR_GATEWAY_CONFIG, else none."""
    path = os.environ.get(CONFIG_VARIABLE)
    return config if config is not None or not path else Path(path)


def load_settings(flags: Mapping[str, Any], config: Path | None = None, *, is_start: bool = True) -> Settings:
    """Merge the three sources and check the result.

    Args:
        flags: Settings given on the command line, by their names.
        config: The TOML file; the variable SWR_GATEWAY_CONFIG stands in for it.
        is_start: Whether a gateway is to start with them. Else they are checked each by itself, without the rules
            between them and without the files that they name.

    Raises:
        SettingsError: With every problem that was found.
    """
    sources = _Sources()
    _add_file(sources, config)
    _add_environment(sources)
    sources.add(flags, flag)
    sdk = _sdk_variables(sources.given)
    sources.add({name: os.environ[place] for name, place in sdk.items()}, sdk.__getitem__)
    settings, bad = _validate(sources.given)
    problems = [*sources.problems, *(f"{sources.places[name]}: {problem}" for name, problem in bad)]
    names = {name for name, value in sources.given.items() if value not in ("", None)}
    unknown = sources.unknown | {name for name, _ in bad}
    if is_start:
        problems += find_contradictions(Given(settings, names, unknown, sources.places))
    if problems:
        raise SettingsError(problems)
    return settings


class _Sources:
    """The sources of settings, merged.

    Attributes:
        given: Settings that were given, by their names.
        places: Where each was given.
        unknown: Settings that were meant to be given, with values that cannot be told.
        problems: Why not.
    """

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}
        self.places: dict[str, str] = {}
        self.unknown: set[str] = set()
        self.problems: list[str] = []
        self._latest: AbstractSet[str] = frozenset()

    def add(self, given: Mapping[str, Any], place: Callable[[str], str]) -> None:
        """Add a source, which wins over those before it: its settings, and what each is called there."""
        self.given |= given
        self.places |= {name: place(name) for name in given}
        self.unknown -= given.keys()
        self._latest = given.keys()

    def add_misspelt(self, name: str, meant: list[str], spell: Callable[[str], str] = str) -> None:
        """Add a name that is none of a setting in the source that was added last, and those it may stand for."""
        suggestion = " or ".join(map(spell, meant))
        self.problems.append(f"{name}: there is no such setting" + (f"; did you mean {suggestion}?" if meant else ""))
        # Any setting may be in a file that was not named.
        self.unknown |= (Settings.model_fields.keys() if CONFIG in meant else set(meant)) - self._latest


def _add_file(sources: _Sources, config: Path | None) -> None:
    place = CONFIG_VARIABLE if config is None else "--config"
    config = config_file(config)
    if config is None:
        return
    try:
        content = read_config_file(config)
    except ConfigFileError as error:
        sources.problems.append(f"{place}: {error}")
        sources.unknown |= Settings.model_fields.keys()
        return
    known = {name: value for name, value in content.items() if name in Settings.model_fields}
    sources.add(known, lambda name: f"{name} in {config}")
    for name in content:
        if name not in known:
            sources.add_misspelt(f"{name} in {config}", likely_meant(name))


def _add_environment(sources: _Sources) -> None:
    names = {variable(name): name for name in Settings.model_fields}
    sources.add({name: os.environ[place] for place, name in names.items() if place in os.environ}, variable)
    for name in sorted(os.environ):
        if name.upper().startswith(PREFIX) and not (name in _KNOWN or _OF_KUBERNETES.fullmatch(name)):
            sources.add_misspelt(name, likely_meant(name, _NAMES_OF_VARIABLES), variable)


def _validate(given: Mapping[str, Any]) -> tuple[Settings, list[tuple[str, str]]]:
    """Check each setting by itself; those that are bad are explained, and left out of what is returned."""
    try:
        return Settings(**given), []
    except ValidationError as error:
        details = [detail for detail in error.errors() if detail["type"] != _FOLLOWS]
    bad = [(str(detail["loc"][0]), _explain(detail["type"], detail["msg"])) for detail in details]
    names = {name for name, _ in bad}
    return Settings(**{name: value for name, value in given.items() if name not in names}), bad


def _sdk_variables(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables of the cloud's own SDK that stand in for an access key: all of it, or nothing.

    Half of one key and half of another would sign wrongly, and the cloud locks a key after five wrong signatures.
    """
    if given.get("auth") != Auth.AKSK or any(given.get(name) for name in _SDK_VARIABLES):
        return {}
    return {name: place for name, place in _SDK_VARIABLES.items() if os.environ.get(place)}


def _explain(kind: str, problem: str) -> str:
    """Return what a value must be; pydantic's own words for one of another kind are about its parser."""
    if (wanted := _WANTED.get(kind.partition("_")[0])) is not None:
        return f"must be {wanted}"
    return problem.removeprefix("Value error, ").replace("Input should be", "must be")
