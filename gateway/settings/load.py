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

from gateway.credentials import is_token
from gateway.settings.model import PREFIX, Auth, Settings

CONFIG_VARIABLE = f"{PREFIX}CONFIG"

# What Kubernetes puts into every container beside a Service that is named swr-gateway.
_OF_KUBERNETES = re.compile(
    rf"{PREFIX}(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)


class SettingsError(Exception):
    """Settings that cannot be used.

    Attributes:
        problems: One sentence each, naming the setting where it was given, and never its value.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def flag(name: str) -> str:
    """Return a setting's flag."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Return a setting's environment variable."""
    return PREFIX + name.upper()


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
    places = {
        **{name: f"{name} in {config}" for name in file},
        **{name: variable(name) for name in environment},
        **{name: flag(name) for name in flags},
    }
    problems += _misspelt_variables()
    try:
        settings = Settings(**given)
    except ValidationError as error:
        problems += [_explain(detail, places) for detail in error.errors()]
    problems += _contradictions({name: value for name, value in given.items() if value not in ("", None)}, places)
    if problems:
        raise SettingsError(problems)
    return settings


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


def _contradictions(given: Mapping[str, Any], places: Mapping[str, str]) -> Iterator[str]:
    """Rules between settings, looked at even where single ones are wrong."""
    if "upstream_url" in given and "region" in given:
        yield f"{places['upstream_url']}, {places['region']}: give one of them, not both"
    if "upstream_url" not in given and "region" not in given:
        yield (
            "--upstream-url (SWR_GATEWAY_UPSTREAM_URL), --region (SWR_GATEWAY_REGION): one of them must be given; "
            "to try the gateway without an account, start `swr-gateway simulate` and give "
            "--upstream-url http://127.0.0.1:8080 --auth none"
        )
    if given.get("auth") == Auth.TOKEN:
        yield from _token_problems(given, places)


def _token_problems(given: Mapping[str, Any], places: Mapping[str, str]) -> Iterator[str]:
    token, path = given.get("token"), given.get("token_file")
    if (token is None) == (path is None):
        yield f"{places['auth']}: `token` needs one of SWR_GATEWAY_TOKEN and --token-file (SWR_GATEWAY_TOKEN_FILE)"
    elif isinstance(token, str) and not is_token(token):
        yield f"{places['token']}: must be visible ASCII without blanks"
    elif isinstance(path, str) and not (Path(path).is_file() and os.access(path, os.R_OK)):
        yield f"{places['token_file']}: cannot read {path}"
